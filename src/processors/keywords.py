"""Keywords: the words that a text says most often, but those that every text of its language says.

H. P. Luhn, "The Automatic Creation of Literature Abstracts", IBM Journal 2(2), 1958: what a text is about, it repeats.
Words that are frequent everywhere are mostly short, and short ones do not count; of the longer ones there is a list for
English, German, French and Spanish.
"""

from collections import Counter
from itertools import chain, islice

from processors.results import Result
from processors.summaries import PAIR, WORD

METHOD = "word frequency (Luhn 1958)"
MOST_KEYWORDS = 10
COUNTED_WORDS = 200_000

FREQUENT = {
    "en": (
        "about above after again against also although always among another around because been before behind "
        "being below between both cannot could does doing done down during each either else even ever every from "
        "further have having here hers herself himself however into itself just less made make many more most "
        "much must myself neither never none only other others ours over perhaps please quite rather same shall "
        "should since some such than that their theirs them themselves then there therefore these they this those "
        "though through thus together under until upon very well were what when where whether which while whom "
        "whose will with within without would your yours yourself"
    ),
    "de": (
        "aber alle allem allen aller alles also andere anderen anderer anderes auch auf beim bereits besonders "
        "bevor bist dabei dadurch dafür daher damit danach dann daran darauf daraus darf darin darüber dass dein "
        "deine deinem deinen denen denn deren derer dessen deshalb diese diesem diesen dieser dieses doch dort "
        "durch eher eine einem einen einer eines einige einigen einmal etwa etwas euch euer eure falls fast für "
        "ganz gegen haben habe hast hatte hatten hier hinter ihnen ihre ihrem ihren ihrer ihres immer indem ihm "
        "jede jedem jeden jeder jedes jedoch jene jener jetzt kann kein keine keinem keinen keiner können könnte "
        "machen mehr mein meine meinem meinen meiner mich müssen muss nach nachdem neben nicht nichts noch oder "
        "ohne schon sehr seid sein seine seinem seinen seiner seit selbst sich sind sobald sollte sollen sondern "
        "sonst soll sowie trotz über unser unsere unter viel viele vielen während wann waren warum weil weiter "
        "welche welcher welches wenn werde werden weder wieder wird wurde wurden würde würden zudem zwar zwischen"
    ),
    "fr": (
        "afin ainsi alors après assez aucun aucune aussi autre autres avaient avait avant avec avoir beaucoup "
        "bien cela celle celles celui cependant certains cette ceux chaque chez comme comment contre dans depuis "
        "derrière dessous dessus deux devant doit donc dont elle elles encore enfin entre était étaient être "
        "faire fait fois font furent hors ici jamais jusque leur leurs lors lorsque mais même mêmes moins notre "
        "nous ont parce pendant peut peuvent plus plusieurs plutôt pour pourquoi presque puis quand quel quelle "
        "quelles quelque quelques quels quoi sans selon sera seront ses sinon soit sommes sont sous souvent suis "
        "sur surtout tandis tant tous tout toute toutes très trop vers voici voilà votre vous"
    ),
    "es": (
        "además ahora algo alguna algunas alguno algunos ambos ante antes aquel aquella aquellos aquí así aún "
        "aunque bajo bien cada casi como cómo contra cual cuales cuando cuanto debe deben desde después donde "
        "dónde durante ella ellas ellos embargo entonces entre eran eres esas esos esta está están estaba estado "
        "estamos estar estas este esto estos fueron fuera había habían haber hace hacer hacia hasta hemos incluso "
        "luego mediante menos mientras mismo mucha muchas mucho muchos nada ninguna ninguno nosotros nuestra "
        "nuestro otra otras otro otros para pero poco porque pues puede pueden quien quién quienes según será "
        "serán siempre sido siendo sino sobre solo sólo somos tales también tampoco tanto tener tenía tiene "
        "tienen toda todas todavía todo todos tras unas unos usted ustedes vosotros"
    ),
}
"""Words of four letters and more that say nothing of what a text is about."""

_FREQUENT = {language: frozenset(map(str.casefold, words.split())) for language, words in FREQUENT.items()}


class Keyword(Result):
    """One keyword, as the text mostly writes it.

    Attributes:
        text: the word; of Chinese and Japanese, which have no spaces, two characters.
        count: how often it was said.
        score: its share of all words that count, 0 to 1.
    """

    text: str
    count: int
    score: float


def find_keywords(text: str, language: str) -> list[Keyword]:
    """Return up to ten keywords of a text, the most frequent first, equal ones in their order.

    Args:
        text: its first 200 000 words are counted.
        language: its tag of BCP 47; of one without a list, every word counts that is not short.
    """
    frequent = _FREQUENT.get(language.partition("-")[0].lower(), frozenset[str]())
    words = chain((match[0] for match in WORD.finditer(text)), (match[1] for match in PAIR.finditer(text)))
    forms = Counter(word for word in islice(words, COUNTED_WORDS) if word.casefold() not in frequent)
    counts: Counter[str] = Counter()
    written: dict[str, str] = {}
    for form, count in forms.most_common():
        written.setdefault(form.casefold(), form)
        counts[form.casefold()] += count
    total = counts.total()
    return [
        Keyword(text=written[word], count=count, score=round(count / total, 4))
        for word, count in counts.most_common(MOST_KEYWORDS)
    ]
