"""Every setting of every process, from the environment and its files, validated before any start."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import combinations
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from contracts.currencies import MINOR_UNIT_EXPONENTS
from contracts.limits import IDENTIFIER, MAX_AMOUNT
from messaging.retries import RetryPolicy
from oms.configuration_file import DATABASE_OF_OTHERS, ConfigurationFile, configured, origin
from oms.database_url import database_url
from oms.extensions import KIT_PARTICIPANTS, check_off, everything_installed, normalised
from oms.failures import Failure
from oms.oidc_settings import https_or_loopback, oidc_trouble, roles_by_group
from oms.setting_files import InvalidSettingFile, SettingFiles, read_variable
from oms.variables import PREFIX, listed
from orchestrator.core.definition import LONGEST_S, StepPolicy
from orchestrator.oidc.identity import GROUPS, SHOWN_NAME
from orchestrator.sagas.order_fulfillment import PaymentFlow, Shipments
from orchestrator.sagas.order_return import DAYS_30_S
from orchestrator.tokens import Role
from orchestrator.webhooks.addresses import Reach

SANDBOX: Final = "sandbox"
NO_LIMIT: Final = "none"
"""Of `OMS_HOLD_ABOVE`: orders are held on request alone."""

HTTP: Final = "http"

_EXTENSION_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_NAMED_FUNCTION: Final = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")

Url = Annotated[str, Field(max_length=2000)]
PositiveSeconds = Annotated[float, Field(gt=0, le=10_000_000)]


class InvalidSettings(Failure):
    """A variable has a value that cannot be used; the message names it and says what is allowed."""


class MissingSettings(Failure):
    """A process was started without something that it needs; the message names the variable."""


class Settings(BaseSettings):
    """What the environment and its files say. Secrets never show in a representation or a log."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore", frozen=True, env_ignore_empty=True)

    database_url: Url | None = None
    orchestrator_database_url: Url | None = None
    inventory_database_url: Url | None = None
    payment_database_url: Url | None = None
    shipping_database_url: Url | None = None
    sandbox_database_url: Url | None = None
    audit_database_url: Url | None = None
    database_connections: Annotated[int, Field(ge=4, le=1000)] = 12
    broker_url: Annotated[tuple[str, ...], NoDecode] = ()
    payment_gateway: Annotated[str, Field(pattern=_EXTENSION_NAME)] | None = None
    payment_gateway_url: Url | None = None
    carrier: Annotated[str, Field(pattern=_EXTENSION_NAME)] | None = None
    carrier_url: Url | None = None
    saga_definitions: Annotated[tuple[str, ...], NoDecode] = ()
    extensions_off: Annotated[tuple[str, ...], NoDecode] = ()
    provider_timeout_s: PositiveSeconds = 5
    provider_concurrency: Annotated[int, Field(ge=1, le=1000)] = 64
    linger_s: Annotated[float, Field(ge=0, le=1)] = 0.005
    admin_token: SecretStr | None = None
    orders_token: SecretStr | None = None
    saga_tokens: Annotated[dict[str, SecretStr], NoDecode] = {}
    oidc_issuer: Url | None = None
    oidc_client_id: Annotated[str, Field(pattern=r"^[!-~]{1,255}$")] | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_audience: Annotated[str, Field(pattern=r"^[!-~]{1,500}$")] | None = None
    oidc_roles: Annotated[dict[str, Role], NoDecode] = {}
    oidc_roles_claim: Annotated[str, Field(pattern=r"^[!-~]{1,255}$")] = GROUPS
    oidc_name_claim: Annotated[str, Field(pattern=r"^[!-~]{1,255}$")] = SHOWN_NAME
    oidc_scopes: Annotated[str, Field(pattern=r"^[!-~]+( [!-~]+)*$", max_length=1000)] = "openid profile"
    oidc_session_s: Annotated[float, Field(ge=300, le=43_200)] = 28_800
    public_url: Url | None = None
    payment_flow: PaymentFlow = PaymentFlow.CHARGE
    shipments: Shipments = Shipments.SINGLE
    hold_above: Annotated[dict[str, int] | None, NoDecode] = None
    return_within_s: Annotated[float, Field(gt=0, le=LONGEST_S)] = DAYS_30_S
    webhooks_private: Literal["yes", "no"] = "no"
    webhooks_give_up_s: PositiveSeconds = 86400
    orders_open: Literal["yes", "no"] = "no"
    sandbox_open: Literal["yes", "no"] = "no"
    health_urls: Annotated[dict[str, str], NoDecode] = {}
    health_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    stop_within_s: Annotated[float, Field(ge=5, le=3600)] = 25
    log_format: Literal["console", "json"] | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_repeats: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    step_deadline_s: PositiveSeconds = 300
    step_grace_s: PositiveSeconds = 30
    resend_after_s: PositiveSeconds = 5
    retry_delays_s: Annotated[tuple[float, ...], NoDecode] = (1, 5, 30)
    max_attempts: Annotated[int, Field(ge=1, le=1000)] = 5
    idempotency_ttl_s: Annotated[float, Field(ge=86400, le=100_000_000)] = 86400
    _of_extensions: dict[str, str] = PrivateAttr(default_factory=dict)
    """The databases of installed participants, by name; their variables are called after them."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the code says, then the environment's files, its variables, and last the one file for all."""
        return init_settings, SettingFiles(settings_cls), env_settings, ConfigurationFile(settings_cls)

    @field_validator(
        "database_url",
        "orchestrator_database_url",
        "inventory_database_url",
        "payment_database_url",
        "shipping_database_url",
        "sandbox_database_url",
        "audit_database_url",
    )
    @classmethod
    def _database_url(cls, value: str | None) -> str | None:
        return None if value is None else database_url(value)

    @field_validator("broker_url", mode="before")
    @classmethod
    def _broker_urls(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        urls = listed(value)
        for url in urls:
            _require(
                url, ("amqp", "amqps"), "amqp://user:password@host:5672/vhost (several with commas between)"
            )
        return urls

    @field_validator("health_urls", mode="before")
    @classmethod
    def _health_urls(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        urls: dict[str, str] = {}
        example = "payment=http://host:8080 (several with commas between, each name once)"
        for part in listed(value):
            name, _, url = (each.strip() for each in part.partition("="))
            _require(url, ("http", "https"), example)
            if not re.fullmatch(IDENTIFIER, name) or name in urls:
                raise ValueError(f"allowed is NAME=URL such as {example}")
            urls[name] = url
        return urls

    @field_validator("saga_definitions", mode="before")
    @classmethod
    def _saga_definitions(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = listed(value)
        if not all(_NAMED_FUNCTION.fullmatch(name) for name in names):
            raise ValueError("allowed is package.module:function (several with commas between)")
        return names

    @field_validator("extensions_off", mode="before")
    @classmethod
    def _extensions_off(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        names = listed(value)
        if not all(re.fullmatch(_EXTENSION_NAME, name) for name in names):
            raise ValueError("allowed are names of distributions (several with commas between)")
        return tuple(normalised(name) for name in names)

    @field_validator("payment_gateway_url", "carrier_url")
    @classmethod
    def _provider_url(cls, value: str | None) -> str | None:
        if value is not None and value != SANDBOX:
            _require(value, ("http", "https"), "http(s)://host/path or the word sandbox")
        return value

    @field_validator("oidc_issuer", "public_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        return None if value is None else https_or_loopback(value)

    @field_validator("oidc_roles", mode="before")
    @classmethod
    def _oidc_roles(cls, value: object) -> object:
        return roles_by_group(value) if isinstance(value, str) else value

    @field_validator("oidc_scopes")
    @classmethod
    def _oidc_scopes(cls, value: str) -> str:
        if "openid" not in value.split():
            raise ValueError("openid must be among them, with spaces between")
        return value

    @field_validator("retry_delays_s", mode="before")
    @classmethod
    def _retry_delays(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            delays = tuple(float(part) for part in value.split(","))
        except ValueError:
            delays = ()
        if not delays or len(delays) > 10 or not all(0 < delay <= 86400 for delay in delays):
            raise ValueError(
                "allowed are 1 to 10 positive numbers of seconds with commas between, as in 1,5,30"
            )
        return delays

    @field_validator("admin_token", "orders_token")
    @classmethod
    def _token(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not is_token(value.get_secret_value()):
            raise ValueError("allowed are 8 to 512 visible ASCII characters")
        return value

    @field_validator("saga_tokens", mode="before")
    @classmethod
    def _saga_tokens(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        tokens: dict[str, str] = {}
        for part in listed(value):
            name, _, token = (each.strip() for each in part.partition("="))
            if not re.fullmatch(IDENTIFIER, name) or not is_token(token) or name in tokens:
                raise ValueError(
                    "allowed is NAME=TOKEN (several with commas between), each definition once, "
                    "each token of 8 to 512 visible ASCII characters without commas"
                )
            tokens[name] = token
        return tokens

    @field_validator("hold_above", mode="before")
    @classmethod
    def _hold_above(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        above: dict[str, int] = {}
        for part in () if value.strip() == NO_LIMIT else value.split(","):
            currency, _, amount = (each.strip() for each in part.partition("="))
            if currency not in MINOR_UNIT_EXPONENTS or currency in above or not _is_amount(amount):
                raise ValueError(
                    "allowed is CURRENCY=AMOUNT in minor units, as EUR=100000 (several with commas between, "
                    f"each currency once), or {NO_LIMIT}: then orders are held on request alone"
                )
            above[currency] = int(amount)
        return above

    @model_validator(mode="after")
    def _tokens_differ(self) -> Self:
        if (doubled := same_tokens(self.tokens)) is not None:
            raise PydanticCustomError("tokens_differ", "{doubled}", {"doubled": doubled})
        return self

    @model_validator(mode="after")
    def _oidc_is_whole(self) -> Self:
        if (trouble := oidc_trouble(self)) is not None:
            raise PydanticCustomError("oidc", "{trouble}", {"trouble": trouble})
        return self

    @property
    def tokens(self) -> dict[str, SecretStr]:
        """Every token that is given, by what gives it."""
        named = {f"{PREFIX}ADMIN_TOKEN": self.admin_token, f"{PREFIX}ORDERS_TOKEN": self.orders_token}
        of_sagas = {f"{PREFIX}SAGA_TOKENS ({name})": token for name, token in self.saga_tokens.items()}
        return {name: token for name, token in {**named, **of_sagas}.items() if token is not None}

    def database_url_of(self, service: str) -> str | None:
        """The database of one service: its own variable, else the one for all."""
        own: str | None = getattr(self, f"{service}_database_url", None)
        return own or self._of_extensions.get(service) or self.database_url

    def required_database_url(self, service: str) -> str:
        """The same; raises MissingSettings when there is none."""
        url = self.database_url_of(service)
        if url is None:
            variable = f"{PREFIX}{service.upper()}_DATABASE_URL"
            raise MissingSettings(f"{variable} (or {PREFIX}DATABASE_URL) must be set to a PostgreSQL URL")
        return url

    def required_broker_urls(self) -> tuple[str, ...]:
        """The broker's URLs; raises MissingSettings when there are none."""
        if not self.broker_url:
            raise MissingSettings(f"{PREFIX}BROKER_URL must be set to an AMQP URL")
        return self.broker_url

    @property
    def payment_gateway_chosen(self) -> str:
        """``http``, ``sandbox``, or what an extension is called; the URL may say it too."""
        return self.payment_gateway or (SANDBOX if self.payment_gateway_url == SANDBOX else HTTP)

    @property
    def carrier_chosen(self) -> str:
        """The same of the carrier."""
        return self.carrier or (SANDBOX if self.carrier_url == SANDBOX else HTTP)

    @property
    def uses_sandbox(self) -> bool:
        """Whether a provider is only played."""
        return SANDBOX in (self.payment_gateway_chosen, self.carrier_chosen)

    @property
    def finish_within_s(self) -> float:
        """What a stopping process gives to work that has begun; the rest is for taking leave of everybody."""
        return self.stop_within_s / 2

    @property
    def webhooks_reach(self) -> Reach:
        """How far webhooks may go."""
        return Reach.ANYWHERE if self.webhooks_private == "yes" else Reach.PUBLIC

    @property
    def step_policy(self) -> StepPolicy:
        """How long steps are waited for."""
        cap_s = max(60.0, self.resend_after_s)
        return StepPolicy(self.step_deadline_s, self.step_grace_s, self.resend_after_s, cap_s)

    @property
    def retry_policy(self) -> RetryPolicy:
        """How often failing messages are tried."""
        return RetryPolicy(self.retry_delays_s, self.max_attempts)


def load_settings(**overrides: Any) -> Settings:
    """The settings of the environment and of the files that it names, with ``overrides`` on top.

    Raises:
        InvalidSettings: naming the variable, never its value.
    """
    try:
        settings = Settings(**overrides)
        check_off(settings.extensions_off)
        settings._of_extensions.update(_databases_of_extensions())
        return settings
    except InvalidSettingFile as error:
        raise InvalidSettings(str(error)) from None
    except ValidationError as error:
        problems = (
            f"{origin(str(problem['loc'][0]).lower())}: {_said(problem['msg'])}"
            if problem["loc"]
            else _said(problem["msg"])
            for problem in error.errors(include_url=False, include_input=False, include_context=False)
        )
        raise InvalidSettings("; ".join(dict.fromkeys(problems))) from None


class _SaidHereAlone(Settings):
    """Settings of which neither the environment nor a file says anything."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What the code says."""
        return (init_settings,)


def settings_of_code(**given: Any) -> Settings:
    """The settings that are given, and defaults for the rest, whatever is installed and configured."""
    off = tuple(sorted({each.distribution for each in everything_installed()}))
    return _SaidHereAlone(extensions_off=off, **given)


def _databases_of_extensions() -> dict[str, str]:
    names = [each.name for each in everything_installed() if each.group == KIT_PARTICIPANTS]
    in_file = configured()
    _check_keys(in_file, names)
    given = {
        name: read_variable(f"{PREFIX}{name.upper()}_DATABASE_URL")
        or in_file.get(f"{name}{DATABASE_OF_OTHERS}")
        for name in names
    }
    return {name: _checked(name, url) for name, url in given.items() if url}


def _check_keys(in_file: Mapping[str, str], participants: Collection[str]) -> None:
    """Every key is of a setting, or of the database of a participant that is installed."""
    known = {*Settings.model_fields, *(f"{name}{DATABASE_OF_OTHERS}" for name in participants)}
    for key in in_file:
        if key not in known:
            raise InvalidSettings(f"{origin(key)}: no participant of this name is installed")


def _checked(participant: str, url: str) -> str:
    try:
        return database_url(url)
    except ValueError as error:
        raise InvalidSettings(f"{PREFIX}{participant.upper()}_DATABASE_URL: {error}") from None


def _said(message: str) -> str:
    return message.removeprefix("Value error, ")


def _require(url: str, schemes: tuple[str, ...], example: str) -> None:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound:
        raise ValueError(f"allowed is a URL such as {example}")


def _is_amount(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= MAX_AMOUNT


def is_token(text: str) -> bool:
    """Whether a text may be a token that somebody has chosen."""
    return 8 <= len(text) <= 512 and all("!" <= character <= "~" for character in text)


def same_tokens(named: Mapping[str, SecretStr]) -> str | None:
    """A sentence on two names of one token, which says who somebody is, and so stands for one alone."""
    for (one, token), (other, its) in combinations(named.items(), 2):
        if token == its:
            return f"{one} and {other} hold the same token: each must be another than all others"
    return None
