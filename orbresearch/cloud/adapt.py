"""How many workers a cluster should have: as many as end the work that is left within a few minutes.

Dask's own estimate looks at the tasks it knows; the feeder shows it two chunks a slot and keeps the rest to itself.
"""

from __future__ import annotations

import math

from distributed.deploy.adaptive import Adaptive

END_SECONDS = 180.0  # within which the work that is left should be done


class Wanted(Adaptive):  # type: ignore[misc]
    """Asks the feeder in the scheduler how many seconds of work are left."""

    async def target(self) -> int:
        """Return the number of workers that suits the work left, within minimum and maximum.

        While the scheduler does not answer, as many as there are.
        """
        try:
            left = await self.scheduler.orb_left()
        except OSError:
            return len(self.plan)
        slots = max(1, left["slots_per_worker"])
        needed = min(math.ceil(left["seconds"] / END_SECONDS), left["chunks"]) / slots
        return int(max(self.minimum, min(self.maximum, math.ceil(needed))))
