"""The kinds of panel that the dashboards use, each with the choices made once: units, legends, colours, data sources.

A panel has a title, a reason for being there (its description), a unit, and targets of (expression, legend). Its id is
made from its title, so that moving a panel keeps links to it. Nothing here knows what is measured.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.builders import tempo as traceql
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as schema
from grafana_foundation_sdk.models import prometheus as formats
from grafana_foundation_sdk.models import tempo as tables
from grafana_foundation_sdk.models import units

COUNT, RATE, SECONDS, USD, PERCENT = (
    units.Short,
    units.RequestsPerSecond,
    units.Seconds,
    units.Dollars,
    units.PercentUnit,
)
PER_SECOND, BYTES, PLAIN = units.CountsPerSecond, units.BytesIEC, units.NoUnit

METRICS = shapes.DataSourceRef(type_val="prometheus", uid="${datasource}")
TRACES = shapes.DataSourceRef(type_val="tempo", uid="${traces}")
GOOD, BAD, WARN, CALM = "green", "red", "orange", "gray"
OUTCOMES = {"success": GOOD, "failure": BAD, "rejected": WARN, "neutral": CALM}
Target = tuple[str, str]


def identity(title: str) -> int:
    """A panel's id: the same wherever the panel stands."""
    return zlib.crc32(title.encode()) % 1_000_000 + 1


def _ref(position: int) -> str:
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[position]


def _query(position: int, expr: str, legend: str, *, instant: bool = False) -> Any:
    query = prometheus.Dataquery().expr(expr).legend_format(legend).ref_id(_ref(position)).datasource(METRICS)
    return query.instant() if instant else query.range()


def _dressed(panel: Any, title: str, why: str, unit: str, width: int, height: int) -> Any:
    panel.id(identity(title)).title(title).description(why).unit(unit).datasource(METRICS)
    return panel.span(width).height(height)


def _colours(panel: Any, colours: Mapping[str, str] | None) -> Any:
    for name, colour in (colours or {}).items():
        fixed = {"mode": "fixed", "fixedColor": colour}
        panel.override_by_name(name, [schema.DynamicConfigValue(id_val="color", value=fixed)])
    return panel


def steps(first: str, *more: tuple[float, str]) -> Any:
    """Thresholds: the colour at the bottom, then (value, colour) upwards."""
    rising = [schema.Threshold(value=None, color=first), *(schema.Threshold(value=at, color=c) for at, c in more)]
    return dashboard.ThresholdsConfig().mode(schema.ThresholdsMode.ABSOLUTE).steps(rising)


def series(
    title: str, why: str, unit: str, *targets: Target, width: int = 8, height: int = 8, stacked: bool | str = False,
    bars: bool = False, exemplars: bool = False, colours: Mapping[str, str] | None = None, limit: float | None = None,
    least: float | None = 0, most: float | None = None,
) -> Any:  # fmt: skip
    """Curves over time. `stacked` may be "percent"; `limit` draws a line; `exemplars` shows calls, linked to their traces."""
    panel = _colours(_dressed(timeseries.Panel(), title, why, unit, width, height), colours)
    for position, (expr, legend) in enumerate(targets):
        query = _query(position, expr, legend)
        panel.with_target(query.exemplar(True) if exemplars and position == 0 else query)
    panel.legend(
        common.VizLegendOptions().display_mode(shapes.LegendDisplayMode.LIST).placement("bottom").show_legend(True)
    )
    panel.tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING))
    panel.draw_style("bars" if bars else "line").line_width(1).fill_opacity(70 if bars else 30 if stacked else 8)
    panel.show_points(shapes.VisibilityMode.AUTO)
    if stacked:
        mode = shapes.StackingMode.PERCENT if stacked == "percent" else shapes.StackingMode.NORMAL
        panel.stacking(common.StackingConfig().mode(mode).group("A"))
    if limit is not None:
        panel.thresholds(steps("transparent", (limit, BAD)))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED))
    if least is not None:
        panel.min(least)
    return panel if most is None else panel.max(most)


def figure(title: str, why: str, unit: str, expr: str, *, width: int = 4, colours: Any = None, empty: str = "-") -> Any:
    """One number for the whole time range. `empty` stands where there is none."""
    panel = _dressed(stat.Panel(), title, why, unit, width, 4).with_target(_query(0, expr, title, instant=True))
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    panel.graph_mode(shapes.BigValueGraphMode.NONE).color_mode(shapes.BigValueColorMode.VALUE).no_value(empty)
    return panel.thresholds(colours or steps("text"))


def ranking(title: str, why: str, unit: str, expr: str, legend: str, *, width: int = 8, colours: Any = None) -> Any:
    """A bar for each of a few things, over the whole time range."""
    panel = _dressed(bargauge.Panel(), title, why, unit, width, 8).with_target(_query(0, expr, legend, instant=True))
    panel.orientation(shapes.VizOrientation.HORIZONTAL).display_mode(shapes.BarGaugeDisplayMode.BASIC).min(0)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
    return panel.thresholds(colours or steps("blue"))


def density(title: str, why: str, expr: str, *, width: int = 8) -> Any:
    """A heat map of a histogram in seconds, with exemplars."""
    query = _query(0, expr, "{{le}}").format(formats.PromQueryFormat.HEATMAP).exemplar(True)
    return _dressed(heatmap.Panel(), title, why, SECONDS, width, 8).with_target(query)


def states(
    title: str, why: str, expr: str, legend: str, words: Mapping[int, tuple[str, str]], *, width: int = 24
) -> Any:
    """A band for each thing, coloured by the state it was in. `words`: value -> (word, colour)."""
    shown = {
        str(value): schema.ValueMappingResult(text=word, color=colour, index=index)
        for index, (value, (word, colour)) in enumerate(words.items())
    }
    panel = _dressed(statetimeline.Panel(), title, why, PLAIN, width, 9).with_target(_query(0, expr, legend))
    panel.mappings([schema.ValueMap(options=shown)]).merge_values(True).row_height(0.8).fill_opacity(80)
    return panel.color_scheme(dashboard.FieldColor().mode(schema.FieldColorModeId.THRESHOLDS))


def rows(
    title: str, why: str, columns: Sequence[tuple[str, str, str]], labels: Mapping[str, str], *, width: int = 24,
    links: Mapping[str, tuple[str, str]] | None = None,
) -> Any:  # fmt: skip
    """A table: a row for each set of `labels` (label -> heading), a column for each (heading, unit, expression).

    `links`: heading -> (what the link says, address).
    """
    panel = _dressed(table.Panel(), title, why, PLAIN, width, 9)
    renamed, hidden = dict(labels), {"Time": True}
    for position, (heading, unit, expr) in enumerate(columns):
        query = _query(position, expr, heading, instant=True).format(formats.PromQueryFormat.TABLE)
        panel.with_target(query)
        renamed["Value" if len(columns) == 1 else f"Value #{_ref(position)}"] = heading
        panel.override_by_name(heading, [schema.DynamicConfigValue(id_val="unit", value=unit)])
    for heading, (text, address) in (links or {}).items():
        link = [{"title": text, "url": address}]
        panel.override_by_name(heading, [schema.DynamicConfigValue(id_val="links", value=link)])
    if len(columns) > 1:
        panel.with_transformation(schema.DataTransformerConfig(id_val="merge", options={}))
    order = {"excludeByName": hidden, "renameByName": renamed, "indexByName": {}}
    return panel.with_transformation(schema.DataTransformerConfig(id_val="organize", options=order))


def traces(title: str, found: Mapping[str, str], *, width: int = 24, height: int = 9) -> Any:
    """Spans found by a query of grafana/traceql.yaml; each row opens its trace."""
    query = traceql.Dataquery().query(found["query"]).query_type(tables.TempoQueryType.TRACEQL).ref_id("A")
    query.limit(50).spss(3).table_type(tables.SearchTableType.SPANS).datasource(TRACES)
    panel = _dressed(table.Panel(), title, found["why"], PLAIN, width, height)
    return panel.datasource(TRACES).with_target(query)


def trend(title: str, found: Mapping[str, str], unit: str, *, width: int = 8, height: int = 9) -> Any:
    """Curves that the trace store computes by a query of grafana/traceql.yaml."""
    query = traceql.Dataquery().query(found["query"]).query_type(tables.TempoQueryType.TRACEQL).ref_id("A")
    query.metrics_query_type(tables.MetricsQueryType.RANGE).datasource(TRACES)
    panel = series(title, found["why"], unit, width=width, height=height)
    return panel.datasource(TRACES).with_target(query)
