"""The JSON API of the trail, below ``/api/v1/audit/``.

==============  ========================================================================
``routes``      adds the routes to the application, described for the OpenAPI document
``events``      a page of events, and one event
``timeline``    the life of one thing
``export``      events as a file
``streams``     where events are sent, and operating it; ``stream_routes`` adds these routes
``parameters``  a query as text, or one parameter a field
``bodies``      what is sent
``viewer``      the user of a request
==============  ========================================================================
"""
