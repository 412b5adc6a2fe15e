"""What is kept, and what goes when it is too much."""

from __future__ import annotations

from tessera.weights.weighted_cache import WeightedCache


def test_what_nobody_asked_for_longest_goes_first():
    cache = WeightedCache(10)
    for key in "abc":
        assert cache.keep(key, key.upper(), 3) == key.upper()
    assert cache.get("a") == "A"
    cache.keep("d", "D", 4)
    assert [cache.get(key) for key in "abcd"] == ["A", None, "C", "D"]
    assert cache.weight == 10


def test_the_first_of_two_threads_is_right_and_what_is_too_heavy_is_not_kept():
    cache = WeightedCache(10)
    first = [1]
    assert cache.keep("a", first, 1) is first
    assert cache.keep("a", [1], 1) is first
    assert cache.keep("b", [2], 11) == [2]
    assert cache.get("b") is None
    assert cache.get("a") is first
    assert cache.weight == 1
