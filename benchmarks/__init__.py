"""``python -m benchmarks [NAME] [--peers …] [--seconds …] [--rounds …] [--json FILE] [--plot FILE.svg]``.

``record``     what recording costs the business transaction, by connections; ``api`` the same from Python,
               ``wire`` what it sends, ``steps`` where the time goes, ``bulk`` many events at a time,
               ``crossover`` beside a full log
``drain``      events a second by batch size, workers and concurrency
``sustained``  the highest rate of events at which one worker keeps up with the writers beside it
``latency``    how long an event is on its way
``footprint``  WAL, heap, indexes and dead rows for each event
``horizon``    draining while an open transaction holds back vacuum
``backlog``    draining while the queue is long
``partitions`` appending to and reading a log of many partitions
``stats``      what the views and ``/metrics`` cost
``soak``       all of it at once, for the time that is given (only if it is named)

A benchmark is a module of that name with

- a docstring, whose first line ``--help`` shows,
- ``add_arguments(parser)``, which adds its own options, each with a default that is done in a few minutes,
- ``run(bench, report, options)``, which measures and tells the report.

``options`` has ``peers`` (``options.chosen(options, known)`` picks), ``seconds`` for a timed run, ``rounds``, and what
the module added. Progress is reported by ``report.progress(text)`` while it runs, then ``report.table(title, figures,
*others)`` with a :class:`~benchmarks.figures.Figure` for each quantity (``ours=True`` for pgaudit's: the plot shows it
in colour; all figures of a table have one unit), ``report.curve(title, (x label, y label), {name: [(x, y), …]})`` where
a figure depends on another, and ``report.target(name, value, bound, limit=…)``. Tables become bars, curves lines.

What they share: ``server`` (a fresh database for every run), ``events``, ``peers`` (the databases), ``store`` (the
plain log of those who are compared), ``variants`` (what each adds to a business transaction), ``contenders`` (those
who drain), ``limits``, ``ways`` (from end to end), ``stream`` and ``rates`` (writers at a rate), ``stock`` and
``pgqueuer`` (the peers' own code), ``pgbench``, ``workers``, ``figures``, ``report``, ``plot``.

Every figure is one of several taken by turns in the same minutes: the ratios hold on a machine that is shared,
where the figures themselves do not.
"""
