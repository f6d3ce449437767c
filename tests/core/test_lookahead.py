"""Whether weights may forecast from a moment, by what they and their ancestors have seen."""

from datetime import UTC, datetime

import numpy as np
import pytest

from forecast.core.lookahead import Provenance, Root, may_forecast

SEEN = datetime(2020, 12, 31, 23, 59, 59, tzinfo=UTC)
LATER = datetime(2022, 6, 30, tzinfo=UTC)


def judged(provenance, as_of="2020-12-31T23:59:59", *, strict=True):
    moment = None if as_of is None else np.datetime64(as_of)
    return may_forecast(provenance, moment, name="v2", strict=strict)


@pytest.mark.parametrize(
    "provenance",
    [
        Provenance(),
        Provenance(seen_until=SEEN),
        Provenance(roots=(Root(source="hf:a/b", training_data="synthetic", published_at=LATER),)),
        Provenance(roots=(Root(source="hf:a/b", training_data="dated", cutoff=SEEN),)),
        Provenance(roots=(Root(source="hf:a/b", published_at=SEEN),)),
    ],
)
def test_weights_that_saw_nothing_later_may(provenance):
    verdict = judged(provenance)
    assert (verdict.allowed, verdict.warnings) == (True, ())


@pytest.mark.parametrize(
    ("provenance", "said"),
    [
        (Provenance(seen_until=LATER), "v2 has seen data until 2022-06-30T00:00:00, after 2020-12"),
        (Provenance(is_dated=False), "the cutoff of v2 is not known"),
        (Provenance(roots=(Root(source="hf:a/b"),)), "comes from hf:a/b, which may have seen"),
        (
            Provenance(roots=(Root(source="hf:a/b", published_at=LATER),)),
            "comes from hf:a/b, which was published on 2022-06-30 and may have seen",
        ),
        (
            Provenance(
                roots=(
                    Root(source="hf:a/b", training_data="dated", cutoff=LATER, published_at=SEEN),
                )
            ),
            "comes from hf:a/b, which has seen data until 2022-06-30",
        ),
    ],
)
def test_others_are_refused_or_warned_of(provenance, said):
    assert not judged(provenance).allowed
    warned = judged(provenance, strict=False)
    assert warned.allowed
    assert said in warned.warnings[0]
    assert not judged(provenance, as_of=None).allowed


def test_what_starts_from_weights_has_seen_what_they_saw():
    old = Provenance(seen_until=LATER, roots=(Root(source="hf:a/b"),))
    new = old.followed_by(Provenance(seen_until=SEEN))
    assert new == old
    assert not Provenance(is_dated=False).followed_by(Provenance(seen_until=SEEN)).is_dated
