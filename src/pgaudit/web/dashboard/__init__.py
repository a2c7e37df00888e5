"""The dashboard: the audit trail in a browser, with plain links and forms that work without JavaScript.

==================  ==========================================================================================
``pages``           the list of the pages; each is a module with ``routes(dashboard)``
``overview``        whether the trail is keeping up: health, plots, queue, storage, what has failed last
``events``          the page of the events: a search, its events, how many there are
``event_requests``  what its addresses ask for
``live_tail``       events that are sent to the page as they come in
``searches``        saved searches
``event``           the page of one event, and its neighbours
``timeline``        the pages of a thing and of an actor; ``timeline_requests`` has what their addresses ask for
``exports``         the page of the exports
``event_views``     events as these pages show them
``values``          values as JSON and as words that were changed
``jobs``            lists of jobs by state, and one job with its event and errors
``job_retries``     asks, and retries one job, some, or all that match
``job_requests``    what addresses and forms of the job pages ask for
``job_views``       jobs as a viewer may see them: scope and masks
``workers``         which workers are alive, and what they do
``streams``         where events are sent, and one stream with its history; ``stream_plots`` has their pictures
``stream_forms``    what the forms of a stream do; ``stream_input`` parses them
``integrity``       how far the log is signed, verified and anchored, and what was found
``coverage``        which tables are captured or guarded, and what passed without an event
``figures``         what the overview and the workers page look at, shared by all who watch
``plots``           plots of throughput and lag, which ``plot.html`` draws as SVG; ``axes`` has round numbers
``login``           login with the admin token, and logout
``errors``          problems as pages; a browser without a user is sent to the login
``frame``           what pages share: rendering, addresses below the mount, the user of a request
``forms``           the token that forms carry, and reading what a browser sends
``attempts``        limits failed logins
``filters``         how templates write moments, numbers, sizes and ages
``headers``         the headers of every answer; refuses paths that have two meanings
``assets``          style sheet, scripts and icon, at addresses with a hash of their content
``templates``       Jinja templates; pages extend ``layout.html`` with the blocks ``title`` and ``main``
``static``          ``dashboard.css``, whose first comment has its classes; ``dashboard.js``; htmx
==================  ==========================================================================================
"""
