"""Travel stories that name countries: random ones, and where sentences end."""

import random
import re
from collections import Counter

COUNTRIES = (
    "Argentina", "Brazil", "Canada", "Chile", "Congo", "Cuba", "Dominica", "Dominican Republic", "Egypt",
    "Equatorial Guinea", "Fiji", "Ghana", "Guinea", "Guinea-Bissau", "Iceland", "India", "Ireland", "Jordan", "Kenya",
    "Mali", "Morocco", "Nepal", "Niger", "Nigeria", "Norway", "Oman", "Papua New Guinea", "Peru", "Romania", "Somalia",
    "South Sudan", "Spain", "St. Lucia", "Sudan", "Uruguay", "Vietnam",
)  # fmt: skip
"""Some contain one another: Guinea is in three others, Oman in Romania, Mali in Somalia, Niger in Nigeria."""
# Each {} becomes a country, different ones within a sentence.
SENTENCES = (
    "Nobody in {} had ever seen such a kite.",
    "Dr. Weber wrote a postcard from {} to an aunt in {}.",
    "The ship left {} at dawn and reached {} after nine days.",
    "In {}, a baker told us how bread is made in {} and {}.",
    "It rained the whole week.",
    "Her brother moved from {} to {}, and his songs still speak of {}.",
    "The old map showed a road between {} and {} that is on no other map.",
    "We sold our bicycles and took the bus.",
    'A waiter asked: "Is it far to {}?" Nobody knew.',
    "{}'s mountains reminded the twins of {}.",
    "Mango juice from {} is sweeter than that from {}!",
    "A train full of musicians crossed {}.",
    "For a moment the travellers forgot {}, {} and {}.",
    "The next stamp in the passport is that of {}.",
)
NUM_COUNTRIES = 8
_SENTENCE_END = re.compile(r"(?<!\b[A-Z][a-z]\.)(?<=[.!?])\s+")


def tell(rng: random.Random, sentences: int) -> tuple[str, dict[str, int]]:
    """A story of so many sentences about at most eight countries, and how often it names each."""
    visited = rng.sample(COUNTRIES, NUM_COUNTRIES)
    named: Counter[str] = Counter()
    told = []
    for _ in range(sentences):
        sentence = rng.choice(SENTENCES)
        countries = rng.sample(visited, sentence.count("{}"))
        named.update(countries)
        told.append(sentence.format(*countries))
    return " ".join(told), dict(named)


def sentences_of(text: str) -> list[str]:
    """The sentences of a text; none ends behind an abbreviation such as `St.` or `Dr.`."""
    return [sentence for sentence in _SENTENCE_END.split(text) if sentence]
