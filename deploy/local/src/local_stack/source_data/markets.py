"""What the demo's customers and orders are made of, in arrays that SQL picks from."""

from dataclasses import dataclass
from itertools import accumulate
from typing import Final


@dataclass(frozen=True, slots=True)
class Market:
    """One country: how much of the business it is, what it pays in, and what people are called."""

    country: str
    region: str
    currency: str
    share: float
    price: float
    given: str
    family: str
    surname_first: bool = False


MARKETS: Final = (
    Market("US", "AMER", "USD", 0.28, 1.1, "Olivia|Liam|Emma|Noah|Ava|Mateo|Sofía|James",
           "Smith|Johnson|O'Connor|García|Nguyen|Williams|Davis|Hernández"),
    Market("DE", "EMEA", "EUR", 0.17, 1.0, "Jürgen|Anna|Lukas|Käthe|Björn|Sabine|Max|Lea",
           "Müller|Groß|Schäfer|von der Heide|Weiß|Krüger|Öztürk|Lange"),
    Market("GB", "EMEA", "GBP", 0.13, 0.9, "Oliver|Amelia|Harry|Isla|Siân|George|Zoë|Aarav",
           "Taylor|Evans|MacDonald|Walker-Price|Hughes|Patel|Llewellyn|Wood"),
    Market("FR", "EMEA", "EUR", 0.12, 1.0, "Chloé|Léo|Inès|François|Zoé|Noël|Anaïs|Jules",
           "Lefèvre|Moreau|d'Aubigné|Dubois|Garçon|Bernard|Çelik|Hély"),
    Market("JP", "APAC", "JPY", 0.08, 150.0, "太郎|美咲|大翔|陽菜|健一|さくら|翔太|結衣",
           "佐藤|鈴木|高橋|田中|渡辺|伊藤|山本|中村", surname_first=True),
    Market("CN", "APAC", "USD", 0.05, 0.9, "伟|芳|娜|秀英|敏|静|丽|强",
           "王|李|张|刘|陈|杨|赵|黄", surname_first=True),
    Market("GR", "EMEA", "EUR", 0.04, 0.8, "Γιώργος|Ελένη|Νίκος|Μαρία|Κώστας|Αθηνά",
           "Παπαδόπουλος|Ιωάννου|Γεωργίου|Νικολαΐδης|Αντωνίου"),
    Market("KR", "APAC", "USD", 0.04, 1.0, "민준|서연|도윤|지우|하은|준서",
           "김|이|박|최|정|강", surname_first=True),
    Market("BG", "EMEA", "EUR", 0.03, 0.6, "Георги|Мария|Иван|Елена|Димитър|Виктория",
           "Иванов|Димитрова|Георгиев|Петкова|Тодоров"),
    Market("AE", "EMEA", "USD", 0.03, 1.6, "محمد|فاطمة|أحمد|مريم|علي|نورة",
           "المنصوري|الهاشمي|النعيمي|الكعبي|الشامسي"),
    Market("IL", "EMEA", "EUR", 0.02, 1.1, "נועה|דוד|תמר|יוסף|מאיה|אורי",
           "כהן|לוי|מזרחי|פרץ|ביטון"),
    Market("IN", "APAC", "USD", 0.01, 0.5, "आरव|अनन्या|विवान|दीया|रोहन|प्रिया",
           "शर्मा|वर्मा|पटेल|गुप्ता|सिंह"),
)  # fmt: skip

STATUSES: Final = {
    "DELIVERED": 0.68, "SHIPPED": 0.1, "PAID": 0.07, "NEW": 0.04, "CANCELLED": 0.07,
    "REFUNDED": 0.04,
}  # fmt: skip
CHANNELS: Final = {"WEB": 0.52, "APP": 0.3, "STORE": 0.11, "PARTNER": 0.07}

NOTES: Final = (
    "Leave with the neighbour, please",
    'Gift wrap; card reads: "Happy birthday, Zoë!"',
    "First line\nsecond line",
    "=SUM(A1:A9)",
    "+49 30 1234567, call before delivery",
    "-10% agreed with sales",
    "@support: see ticket 4711",
    "Größe L, Farbe grün",
    "配送は午前中にお願いします",
    "التسليم بعد الساعة السادسة مساءً",
    "Ring twice",
    "Part of a larger order: one delivery of everything on a weekday, after a call an hour before",
)  # fmt: skip


def customer_arrays() -> tuple[list[float], list[str], list[str], list[str], list[bool]]:
    """Thresholds of the markets; then of each market country, names, and their order."""
    return (
        thresholds([market.share for market in MARKETS]),
        [market.country for market in MARKETS],
        [market.given for market in MARKETS],
        [market.family for market in MARKETS],
        [market.surname_first for market in MARKETS],
    )


def order_arrays() -> tuple[list[float] | list[str], ...]:
    """Thresholds, region, currency and price level of the markets; then what orders pick from."""
    return (
        thresholds([market.share for market in MARKETS]),
        [market.region for market in MARKETS],
        [market.currency for market in MARKETS],
        [market.price for market in MARKETS],
        list(STATUSES),
        thresholds(list(STATUSES.values())),
        list(CHANNELS),
        thresholds(list(CHANNELS.values())),
        list(NOTES),
    )


def thresholds(shares: list[float]) -> list[float]:
    """Where one item ends and the next one begins, for shares that add up to 1."""
    return list(accumulate(shares))[:-1]
