"""Checks that a scrape has the series and labels that PromQL expressions use."""

from collections.abc import Iterator
from typing import Any

import promql_parser
from prometheus_client.openmetrics.parser import text_string_to_metric_families

# Labels that Prometheus adds to each series, from the configuration of the scrape.
OF_TARGET = {"job", "instance"}
CHILDREN = ("expr", "lhs", "rhs", "args", "vector_selector")


class Scrape:
    """The series of one answer of ``/metrics``: for each name, the values of each label."""

    def __init__(self, text: str) -> None:
        self.series: dict[str, dict[str, set[str]]] = {}
        families = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
        for sample in (sample for family in families for sample in family.samples):
            labels = self.series.setdefault(sample.name, {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)

    def problems(self, expression: str, **more: set[str]) -> list[str]:
        """Returns a sentence for each series, label or value of an expression that the scrape does not have.

        :param more: values of a label that another scrape would have.
        """
        tree = promql_parser.parse(expression)
        found = [problem for selector in selectors(tree) for problem in self.of_selector(selector, more)]
        known = {label for selector in selectors(tree) for label in self.series.get(selector.name, {})} | OF_TARGET
        return [*found, *(f"no series has the label {label}" for label in grouping(tree) if label not in known)]

    def of_selector(self, selector: Any, more: dict[str, set[str]]) -> Iterator[str]:
        """Yields a sentence for each part of a selector that the scrape does not have."""
        if selector.name not in self.series:
            yield f"there is no series {selector.name}"
            return
        labels = self.series[selector.name]
        for matcher in selector.matchers.matchers:
            values = labels.get(matcher.name, set()) | more.get(matcher.name, set())
            if matcher.name not in OF_TARGET and matcher.value not in values:
                yield f"{selector.name} has no {matcher.name}={matcher.value}"


def nodes(tree: Any) -> Iterator[Any]:
    """Yields each node of an expression."""
    yield tree
    for child in (getattr(tree, name, None) for name in CHILDREN):
        for each in child if isinstance(child, list) else [child]:
            if each is not None:
                yield from nodes(each)


def selectors(tree: Any) -> list[Any]:
    """Returns the selectors of series in an expression."""
    return [node for node in nodes(tree) if isinstance(node, promql_parser.VectorSelector)]


def grouping(tree: Any) -> set[str]:
    """Returns the labels that an expression groups by."""
    modifiers = (node.modifier for node in nodes(tree) if isinstance(node, promql_parser.AggregateExpr))
    return {label for modifier in modifiers if modifier for label in modifier.labels}
