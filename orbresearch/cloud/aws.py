"""The one door to AWS: clients with retries, and every refusal said in AWS's own words with what to do about it.

botocore rather than boto3: dask-cloudprovider brings aiobotocore, which pins botocore to one version, and the boto3
that would fit is the user's own affair. Credentials, profile and endpoint are botocore's (``aws configure``,
``AWS_PROFILE``, ``AWS_ENDPOINT_URL``); nothing of them is kept or shown here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any

from orbresearch.errors import BadInput, CloudFailed, OrbError

TAG = "orbresearch"  # on everything made here; its value is the stack's name
CLUSTER_TAG = "orbresearch:cluster"  # on tasks: the cluster's name
ROLE_TAG = "orbresearch:role"  # on tasks: scheduler or worker
STACK = "orbresearch"  # default name of the stack

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN_KEY = {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "AuthFailure"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"}
_EXTRA = ("botocore", "cryptography", "dask_cloudprovider")  # what the extra "cloud" brings
_LOG_IN = "run aws configure or aws sso login"


@dataclass(frozen=True)
class Account:
    """An AWS account as this process's credentials see it, in one region.

    Parameters
    ----------
    region : str
    session : botocore.session.Session
    """

    region: str
    session: Any = field(repr=False)
    _clients: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    _turn: Any = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def client(self, service: str) -> Any:
        """Return the client of a service, such as ``"ecs"``; threads may share it."""
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "total_max_attempts": 5},
            connect_timeout=5,
            read_timeout=60,
            user_agent_extra="orbresearch",
        )
        with self._turn:  # threads may share clients, but not a session
            if service not in self._clients:
                self._clients[service] = self.make_client(service, config)
            return self._clients[service]

    def make_client(self, service: str, config: Any) -> Any:
        """Return a client of one's own; this is where credentials are looked for."""
        try:
            with speaking(f"preparing to ask AWS ({service})"):
                return self.session.create_client(service, region_name=self.region, config=config)
        except OrbError:
            raise
        except OSError as error:  # a profile's credential_process that is no program
            raise BadInput("AWS credentials", str(error), "mend the profile in ~/.aws/config") from None
        except ValueError as error:
            raise BadInput("AWS endpoint", str(error), "set AWS_ENDPOINT_URL to a URL, or unset it") from None


def open_account(region: str | None = None) -> Account:
    """Return the account that the environment's credentials belong to.

    Parameters
    ----------
    region : str, optional
        Such as ``"us-east-1"``; default: ``AWS_DEFAULT_REGION`` or the profile's.

    Raises
    ------
    BadInput
        The package's extra ``cloud`` is not installed, no region is named, or a profile that does not exist.
    """
    require_extra()
    with speaking("reading AWS' configuration"):
        session = _open_session()
        where = region or session.get_config_variable("region")
        session.get_scoped_config()  # refuses a profile that does not exist, whoever named the region
    if not where:
        raise BadInput("AWS region", "none is named", "set AWS_DEFAULT_REGION, or give region=")
    return Account(where, session)


def require_extra() -> None:
    """Refuse to go on without the packages of the extra ``cloud``.

    Raises
    ------
    BadInput
        Which are missing.
    """
    missing = [name for name in _EXTRA if find_spec(name) is None]
    if missing:
        wrong = f"packages that it needs are not installed: {', '.join(missing)}"
        raise BadInput("orb.cloud", wrong, "run pip install 'orbresearch[cloud]'")


def _open_session() -> Any:
    """Return a session that shares with all others what botocore reads from its own files, and nothing else."""
    from botocore.session import get_session

    session = get_session()
    session.register_component("data_loader", _loader(session.get_config_variable("data_path")))
    return session


@cache
def _loader(search_path: str | None) -> Any:
    """Return the reader of botocore's descriptions of services: megabytes, which take longer than most calls."""
    from botocore.loaders import create_loader

    return create_loader(search_path)


def pages(operation: Callable[..., Any], key: str, **arguments: Any) -> Iterator[Any]:
    """Yield the items of a listing that comes in pages of ``nextToken``/``NextToken``/``Marker``."""
    client, name = operation.__self__, operation.__name__  # type: ignore[attr-defined]
    for page in client.get_paginator(name).paginate(**arguments):
        yield from page[key]


@contextmanager
def speaking(what: str) -> Iterator[None]:
    """Turn what AWS refuses into a sentence.

    Parameters
    ----------
    what : str
        What is being done, for the sentence: ``"starting Redis"``.

    Raises
    ------
    BadInput
        Credentials, a profile or a region that are missing, wrong or expired: nothing can be done before.
    CloudFailed
        Everything else, with the reason AWS gave.
    """
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as error:
        raise _refused(what, error) from None
    except BotoCoreError as error:
        raise _unsent(what, error) from None
    except ResponseParserError as error:
        wrong, fix = "what answered is not AWS", "see whether a proxy or AWS_ENDPOINT_URL leads elsewhere"
        raise CloudFailed(what, f"{wrong}: {_first_line(error)}", fix) from None
    except RuntimeError as error:  # so botocore says that a login could not be renewed in the middle of work
        if "redentials" not in str(error):
            raise
        raise BadInput("AWS credentials", _first_line(error), _LOG_IN) from None


def code_of(error: Exception) -> str:
    """Return the code of a ``ClientError``, such as ``"ThrottlingException"``."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def _refused(what: str, error: Any) -> Exception:
    """Return the sentence for an answer that is an error."""
    code, said = code_of(error), str(error.response["Error"].get("Message", "")) or "no reason given"
    if code in _EXPIRED:
        return BadInput("AWS credentials", f"they have expired ({code})", "log in again: aws sso login, or new keys")
    if code in _UNKNOWN_KEY:
        return BadInput("AWS credentials", f"AWS does not know them: {said}", "check them: aws sts get-caller-identity")
    if code in _DENIED:
        fix = "ask for the stack's policies (README, The cloud): ResearcherPolicy, LoadBalancerPolicy, deployer.json"
        return CloudFailed(what, f"not allowed: {said}", fix)
    if code in _THROTTLED:
        return CloudFailed(what, f"AWS throttles this account: {said}", "try again in a minute")
    return CloudFailed(what, f"{code}: {said}", "see what the reason names")


def _unsent(what: str, error: Any) -> Exception:
    """Return the sentence for a request that got no answer, or was never sent."""
    from botocore import exceptions as known

    said = _first_line(error)
    if isinstance(error, (known.ProfileNotFound, known.ConfigParseError, known.ConfigNotFound)):
        fix = "see aws configure list-profiles, and what AWS_PROFILE and AWS_CONFIG_FILE name"
        return BadInput("AWS configuration", said, fix)
    if isinstance(error, known.InvalidRegionError):
        return BadInput("AWS region", said, 'give one such as "us-east-1"')
    if isinstance(error, (known.InvalidConfigError, known.InfiniteLoopConfigError)):
        return BadInput("AWS credentials", said, "mend the profile in ~/.aws/config")
    if isinstance(error, _lacking(known)):
        return BadInput("AWS credentials", said, _LOG_IN)
    return CloudFailed(what, said, "check the region's name and the network")


def _lacking(known: Any) -> tuple[type[Exception], ...]:
    """Return what botocore raises, at the first call or a later one, where nobody has logged in or no longer is."""
    names = (
        "NoCredentialsError",
        "PartialCredentialsError",
        "CredentialRetrievalError",
        "NoAuthTokenError",
        "TokenRetrievalError",
        "SSOError",
        "LoginError",
        "MetadataRetrievalError",
    )
    return tuple(getattr(known, name) for name in names if hasattr(known, name))  # some are of late versions only


def _first_line(error: Exception) -> str:
    """Return what an error says, without the full stop that our own sentence would go on behind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip().rstrip(".: ")
