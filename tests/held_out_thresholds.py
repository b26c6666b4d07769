"""Predictions at held-out thresholds, as loops over the definition."""


def naive_threshold(margins: dict[tuple, float], gold: set[tuple]) -> float:
    """Returns the highest of the best thresholds, halfway to the next prediction, or 0 if nothing is correct."""
    best_f1, best = 0.0, 0.0
    ordered = sorted(set(margins.values()), reverse=True)
    for place, margin in enumerate(ordered):
        kept = {fact for fact in margins if margins[fact] >= margin}
        f1 = 200 * len(kept & gold) / (len(kept) + len(gold))
        if f1 > best_f1:
            following = ordered[place + 1] if place + 1 < len(ordered) else margin - 0.1
            best_f1, best = f1, (margin + following) / 2
    return best


def naive_held_out(margins: dict[tuple, float], gold: set[tuple], uncounted: set[tuple] = frozenset()) -> set[tuple]:
    """
    Returns the facts predicted when each document has the threshold of the documents of other index modulo 4.

    `margins` and `gold` are about (document, head, tail, relation), `uncounted` about (document, head, tail).
    """
    predicted = set()
    for part in range(4):
        others = {
            fact: margin for fact, margin in margins.items() if fact[0] % 4 != part and fact[:3] not in uncounted
        }
        threshold = naive_threshold(others, {fact for fact in gold if fact[0] % 4 != part})
        predicted |= {fact for fact, margin in margins.items() if fact[0] % 4 == part and margin > threshold}
    return predicted
