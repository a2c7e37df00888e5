"""``python -m benchmarks record|drain``: what recording costs, and how fast a worker drains.

============  =====================================================================
``server``    the server, and a fresh database for every run
``events``    the events that everybody records
``peers``     pgaudit's tables, and those of what it is compared with
``record``    business transactions by pgbench; ``api`` the same from Python
``drain``     a worker process, by the side of stock Procrastinate's (``stock``)
``workers``   starts them, and reads what they use
``figures``   medians, spread, ratios; ``report`` prints them and writes the JSON
============  =====================================================================

Every figure is one of several taken by turns in the same minutes: the ratios hold on a machine that is shared,
where the figures themselves do not.
"""
