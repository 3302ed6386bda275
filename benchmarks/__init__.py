"""How fast, and how right: latency per stage, accuracy per variant, and gates on both.

Stands on the core alone. Taking samples (`latency`), what they mean (`statistics`), keeping them (`storage`), showing
them (`table`) and judging them (`gate`) know nothing of one another's ways; `suite` says what is measured of a bundle,
and `comparison` what quantising cost.
"""
