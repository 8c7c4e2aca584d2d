"""The embedded world: a tiny language about invented people, with two small models pretrained on it.

Everything here is generated from code and a seed, so that a whole comparison of methods runs on a
laptop without any download and its training, validation and test material is known to be disjoint.
"""

from __future__ import annotations
