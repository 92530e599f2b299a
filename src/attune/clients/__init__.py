"""One wire dialect a file. No policy here: a dialect says what things are, never what to do about them."""
