"""What the benchmarks share.

==========================  ================================================================================
``server``                  the server under test, a fresh database for every run, and what it runs on
``options``                 the options that every benchmark has
``report``                  measurements; tables, curves and targets on the screen and in files
``plot``, ``charts``        draw a report as SVG
``load``                    the recorded event, events in bulk, and a writer process at a given rate
``databases``               databases with the schemas of pgaudit and of its peers, and with full queues
``plain_log``               an unguarded copy of the log's tables for the peers, and filling a log with rows
``transactions``            the business transaction that pgbench runs, with each way to keep an event
``pgbench``                 runs pgbench
``workers``                 worker processes, their memory and processor time
``contenders``              the workers that are compared: pgaudit, stock Procrastinate, PgQueuer
``stock_procrastinate``     Procrastinate, set up as its documentation says
``pgqueuer``                PgQueuer, set up as its documentation says
``recorders``               what each contender does in Python to record one event
``trial``                   tries one rate of events, for ``sustained``
``latency_probe``           notes when an event becomes visible, for ``latency``
==========================  ================================================================================
"""
