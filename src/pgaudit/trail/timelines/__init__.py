"""The life of one thing and what one actor has done, from the changes that events tell.

===========  =======================================================================================
``reading``  reads timelines
``fold``     the state of a thing from the changes of its events, and what differs between two states
``state``    what is told of each field, as a tree along their paths
``told``     what one event tells of a field
``moment``   what a timeline reads of an event
===========  =======================================================================================
"""

from pgaudit.trail.timelines.moment import Moment
from pgaudit.trail.timelines.reading import (
    ActorTimeline,
    Timeline,
    actor_timeline,
    actor_timeline_async,
    single,
    timeline,
    timeline_async,
)
from pgaudit.trail.timelines.told import Contradiction, FieldDifference, Told

__all__ = [
    "ActorTimeline",
    "Contradiction",
    "FieldDifference",
    "Moment",
    "Timeline",
    "Told",
    "actor_timeline",
    "actor_timeline_async",
    "single",
    "timeline",
    "timeline_async",
]
