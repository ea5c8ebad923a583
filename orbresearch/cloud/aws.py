"""The one door to AWS: clients with retries, and every refusal said in AWS's own words with what to do about it.

botocore rather than boto3: dask-cloudprovider brings aiobotocore, which pins botocore to one version, and the boto3
that would fit is the user's own affair. Credentials, profile and endpoint are botocore's (``aws configure``,
``AWS_PROFILE``, ``AWS_ENDPOINT_URL``); nothing of them is kept or shown here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from orbresearch.errors import BadInput, CloudFailed

TAG = "orbresearch"  # on everything made here; its value is the stack's name
CLUSTER_TAG = "orbresearch:cluster"  # on tasks: the cluster's name
ROLE_TAG = "orbresearch:role"  # on tasks: scheduler or worker
STACK = "orbresearch"  # default name of the stack

_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN_KEY = {"UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "AuthFailure"}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_THROTTLED = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"}


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

    def client(self, service: str) -> Any:
        """Return a client of a service, such as ``"ecs"``; it may be shared by threads."""
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "total_max_attempts": 5},
            connect_timeout=5,
            read_timeout=60,
            user_agent_extra="orbresearch",
        )
        with speaking(service):
            return self.session.create_client(service, region_name=self.region, config=config)


def open_account(region: str | None = None) -> Account:
    """Return the account that the environment's credentials belong to.

    Parameters
    ----------
    region : str, optional
        Such as ``"us-east-1"``; default: ``AWS_DEFAULT_REGION`` or the profile's.

    Raises
    ------
    BadInput
        The package's extra ``cloud`` is not installed, or no region is named.
    """
    try:
        from botocore.session import get_session
    except ImportError:
        raise BadInput("orb.cloud", "its packages are not installed", "pip install 'orbresearch[cloud]'") from None
    session = get_session()
    where = region or session.get_config_variable("region")
    if not where:
        raise BadInput("AWS region", "none is named", "set AWS_DEFAULT_REGION, or give region=")
    return Account(where, session)


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
        Credentials are missing, wrong or expired: nothing can be done before they are mended.
    CloudFailed
        Everything else, with the reason AWS gave.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _refused(what, error) from None
    except BotoCoreError as error:
        raise _unsent(what, error) from None


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
    """Return the sentence for a request that got no answer."""
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError, TokenRetrievalError

    if isinstance(error, (NoCredentialsError, PartialCredentialsError, TokenRetrievalError)):
        return BadInput("AWS credentials", str(error), "run aws configure or aws sso login")
    return CloudFailed(what, str(error), "check the region's name and the network")
