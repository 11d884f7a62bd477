"""Money: Decimal amounts with a currency, exact in storage, rounded only to be read."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

from governance.errors import Invalid

DIGITS = 28
PLACES = 15
QUANTUM = Decimal(1).scaleb(-PLACES)
# numeric(28,15) leaves 13 digits before the point.
LARGEST = Decimal(10) ** (DIGITS - PLACES)
CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)

# ISO 4217, the money of countries and unions.
_CODES = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP CRC CUP CVE
    CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES
    KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LTL LVL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK
    NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND
    TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST XAF XCD XOF XPF YER ZAR ZMW ZWG EEK SKK SIT CYP MTL ROL TRL
"""
CURRENCIES = frozenset(_CODES.split())


class AmountTooLarge(ValueError):
    """The amount does not fit numeric(28,15)."""


def quantize(amount: Decimal) -> Decimal:
    """The amount as a money column stores it: 15 decimal places, half to even.

    Raises AmountTooLarge when the column could not hold it.
    """
    # The exponent first: the absolute value of the largest numbers overflows.
    if not amount.is_finite() or (amount and amount.adjusted() > DIGITS) or abs(amount) >= LARGEST:
        raise AmountTooLarge(f"{amount} does not fit numeric({DIGITS},{PLACES})")
    return amount.quantize(QUANTUM, context=CONTEXT)


def currency_code(text: str) -> str:
    """The currency's ISO code, in capitals. Raises Invalid for what is none."""
    code = text.strip().upper()
    if code not in CURRENCIES:
        raise Invalid(f"“{text.strip()[:12]}” is no currency's code.", field="currency")
    return code


def digits(amount: Decimal) -> str:
    """The amount as text, every digit of it, without the zeros that storage pads it with and without an exponent."""
    return f"{amount.normalize(CONTEXT):f}"


def written(amount: Decimal, places: int = 2) -> str:
    """The amount as a sentence writes it: so many decimal places, and more where a small amount would read as nothing."""
    if amount != 0 and amount.adjusted() < 1 - places:
        places = min(1 - amount.adjusted(), PLACES)
    return f"{amount.quantize(Decimal(1).scaleb(-places), context=CONTEXT):f}"


def written_apart(*amounts: Decimal) -> list[str]:
    """The amounts with as many places, two at least and all the same, as it takes to tell those apart that differ."""
    for places in (2, 4, 6):
        texts = [written(amount, places) for amount in amounts]
        if len(set(texts)) == len(set(amounts)):
            most = max(len(text.partition(".")[2]) for text in texts)
            return [written(amount, most) for amount in amounts]
    return [written(amount, PLACES) for amount in amounts]


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in one currency (ISO 4217 code). Adding two currencies is an error, not a guess."""

    amount: Decimal
    currency: str = "USD"

    def __add__(self, other: "Money") -> "Money":
        self._same_currency(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: "Money") -> "Money":
        self._same_currency(other)
        return Money(self.amount - other.amount, self.currency)

    def _same_currency(self, other: "Money") -> None:
        if self.currency != other.currency:
            raise ValueError(f"cannot combine {self.currency} with {other.currency}")
