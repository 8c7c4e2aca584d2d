"""pyreft's trainer, watched. `pyreft` imports it when it trains: it loads the library."""

from __future__ import annotations

import pyreft

from harness.training.trl import WatchedTrainer


class PyreftTrainer(WatchedTrainer, pyreft.ReftTrainer):
    """The library's trainer; its loss is the `loss_of` that it is given."""
