"""Benchmarks: ``python -m benchmarks [NAME] [options]``. README.md has the table of the names.

A benchmark is a module or package of that name with

- a docstring, which ``--help`` prints: the question, the variants, what is measured in which units, and the duration,
- ``add_arguments(parser)``, which adds its options, with defaults that finish in minutes,
- ``run(bench, report, options)``, which measures and reports.

Measurements that are compared are taken by turns in the same minutes, so that their ratios hold on a shared machine,
even where the measurements themselves do not. What the benchmarks share is in :mod:`benchmarks.support`.
"""
