"""The four dashboards, as Python: what is shown and why. `grafana/build.py` writes them down as JSON."""
