"""ISO 4217 currencies in use, with the number of decimal places of their minor unit."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator

_ZERO: Final = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF"
_TWO: Final = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL
HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU
MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR
SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED
VES WST XCD XCG YER ZAR ZMW ZWG
"""
_THREE: Final = "BHD IQD JOD KWD LYD OMR TND"
_FOUR: Final = "CLF UYW"

MINOR_UNIT_EXPONENTS: Final[dict[str, int]] = {
    code: exponent
    for exponent, codes in ((0, _ZERO), (2, _TWO), (3, _THREE), (4, _FOUR))
    for code in codes.split()
}
"""Currency code → decimal places: EUR 2 means that 1299 is 12.99 EUR."""


def _known(code: str) -> str:
    if code not in MINOR_UNIT_EXPONENTS:
        raise ValueError("not an ISO 4217 currency code in use")
    return code


Currency = Annotated[str, AfterValidator(_known)]


def format_amount(amount: int, currency: str) -> str:
    """An amount in minor units as a person writes it: ``format_amount(1299, "EUR") == "12.99 EUR"``.

    Of a currency that is no longer in use it is said that the units are minor ones.
    """
    exponent = MINOR_UNIT_EXPONENTS.get(currency)
    if exponent is None:
        return f"{amount} minor units of {currency}"
    if exponent == 0:
        return f"{amount} {currency}"
    whole, fraction = divmod(amount, 10**exponent)
    return f"{whole}.{fraction:0{exponent}d} {currency}"
