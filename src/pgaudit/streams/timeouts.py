"""How long a stream waits for its destination: its position is locked meanwhile."""

from typing import Final

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 30.0  # for a whole request, however slowly each byte of its answer comes
