"""Made-up words of many languages: syllables that their spelling allows, in families of likes.

They need no dictionary. What matters is that a detector of any word hears many sounds of many
languages, and that some words differ by one sound alone.
"""

import random
from typing import NamedTuple

# Of each language of espeak-ng: what a syllable begins with, its vowel and what it ends with.
LANGUAGES = {
    "en-us": (
        "b d f g h j k l m n p r s t v w y z sh ch th st tr bl gr sp kl fr".split(),
        "a e i o u ee oo ay ow ai ar or er".split(),
        ["", "", "n", "m", "l", "t", "k", "s", "d", "nd", "st", "ng"],
    ),
    "de": (
        "b d f g h k l m n p r s t w z sch st br kl pf schw dr".split(),
        "a e i o u ä ö ü ei au eu ie".split(),
        ["", "", "n", "r", "l", "t", "ch", "ft", "m", "s", "ng"],
    ),
    "fr": ("b d f g j l m n p r s t v ch br pl cr tr".split(), "a é è i o u ou an on eu oi".split(),
           ["", "", "", "l", "r", "che"]),
    "es": ("b d f g j l m n p rr s t ch ll tr pl br".split(), "a e i o u ie ue ai".split(),
           ["", "", "n", "r", "s", "l"]),
    "it": ("b d f g l m n p r s t v z gn sc tr pr".split(), "a e i o u ia uo".split(),
           ["", "", "n", "r", "l"]),
    "pl": ("b d f g k l m n p r s t w z sz cz dz krz prz".split(), "a e i o u y ą".split(),
           ["", "", "k", "r", "n", "ć"]),
    "ru": ("б д г к л м н п р с т в з ш ч х ж".split(), "а е и о у я ы ю".split(),
           ["", "", "н", "р", "л", "т", "ть"]),
    "tr": ("b d f g k l m n p r s t y z ş ç".split(), "a e ı i o ö u ü".split(),
           ["", "", "n", "r", "l", "k"]),
    "fi": ("h j k l m n p r s t v".split(), "a e i o u y ä aa ii uo".split(),
           ["", "", "n", "s", "l"]),
    "nl": ("b d g h k l m n p r s t v w z sch st".split(), "a e i o u aa ee oo ij ui oe".split(),
           ["", "", "n", "r", "l", "t", "k"]),
    "sw": ("b d f g k l m n p r s t v w z ny ch ng".split(), "a e i o u".split(), [""]),
    "hi": ("क ख ग च ज ट त द न प ब म य र ल स ह".split(), ["", *"ा ि ी ु े ो".split()], [""]),
    "vi": ("b đ g kh l m n ph r s t th v x".split(),
           "a á à ạ ã ê ế ề ô ố ộ i í ì u ú".split(), ["", "n", "ng", "m"]),
    "el": ("β γ δ θ κ λ μ ν π ρ σ τ φ χ".split(), "α ε ι ο ου".split(), ["", "", "ς", "ν"]),
    "id": ("b d g h j k l m n p r s t w ny".split(), "a e i o u ai".split(),
           ["", "", "n", "ng", "k", "r", "s"]),
    "ko": ("가 나 다 라 마 바 사 아 자 차 카 타 파 하 거 너 더 머 버 서 고 노 도 모 보 소 "
           "구 누 두 무 부 수 기 니 디 미 비 시".split(), [""], [""]),
}  # fmt: skip
LIKES = 3  # words of a family: one, and others that differ from it by one sound
SYLLABLES = (1, 2, 2, 2, 3, 3)  # of a word, each as likely


class MadeUpWord(NamedTuple):
    """A word that means nothing.

    Arguments
    ---------
    name : str
        Fit for a folder. Names of words that sound alike are neighbours in the alphabet.
    language : str
        Of espeak-ng.
    text : str
        In the spelling of the language.
    """

    name: str
    language: str
    text: str


def make_up_words(count, languages=tuple(LANGUAGES), seed=0):
    """Makes up words, in families of `LIKES` that differ by one sound.

    Arguments
    ---------
    count : int
        Rounded up to whole families.
    languages : sequence of str
        Of `LANGUAGES`.
    seed : int

    Returns
    -------
    list of MadeUpWord
        No two of the same text and language.

    Example
    -------
    >>> [word.name for word in make_up_words(3, ["fi"])]
    ['fi-0000-a', 'fi-0000-b', 'fi-0000-c']
    """
    unknown = sorted(set(languages) - set(LANGUAGES))
    if unknown or not languages:
        raise ValueError(f"Got languages {unknown}; expected some of {', '.join(LANGUAGES)}.")
    generator, words, seen = random.Random(seed), [], set()
    while len(words) < count:
        language = languages[len(words) // LIKES % len(languages)]
        family = _family(language, generator)
        texts = ["".join(map("".join, syllables)) for syllables in family]
        known = {(language, text) for text in texts}
        if len(known) < LIKES or known & seen:
            continue
        seen |= known
        number = len(words) // LIKES
        words += [
            MadeUpWord(f"{language}-{number:04}-{'abc'[i]}", language, text)
            for i, text in enumerate(texts)
        ]
    return words


def _family(language, generator):
    """Syllables of a word and of `LIKES` - 1 others with one part changed."""
    parts = LANGUAGES[language]
    word = [[generator.choice(part) for part in parts] for _ in range(generator.choice(SYLLABLES))]
    return [word, *(_changed(word, parts, generator) for _ in range(LIKES - 1))]


def _changed(word, parts, generator):
    changed = [list(syllable) for syllable in word]
    syllable = generator.choice(changed)
    place = generator.choice([index for index, part in enumerate(parts) if len(set(part)) > 1])
    others = [sound for sound in parts[place] if sound != syllable[place]]
    syllable[place] = generator.choice(others)
    return changed
