"""The stack's secrets, filled: certificates, and the account of the results database. They go nowhere else.

Values are read and compared before they are written, so that deploying again changes nothing that is still good.
"""

from __future__ import annotations

import ipaddress
import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orbresearch.cloud.aws import Account, code_of, speaking
from orbresearch.cloud.certificates import days_left, make_certificates, read_security
from orbresearch.errors import BadInput, Corrupt
from orbresearch.settings import StoreSettings
from orbresearch.variables import OF_REGION

if TYPE_CHECKING:
    from orbresearch.cloud.stack import Stack

RENEW_DAYS = 90  # certificates that end sooner are made anew
SECRET_BYTES = 65_536  # Secrets Manager takes no more
IN_USE_DAYS = 2  # unless tasks hold them: those live for hours, and a new worker must know the old scheduler


def read_secret(account: Account, arn: str) -> str | None:
    """Return a secret's value; None where it has none yet.

    Parameters
    ----------
    account : Account
    arn : str
    """
    from botocore.exceptions import ClientError

    with speaking("reading a secret"):
        try:
            return str(account.client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"])
        except ClientError as error:
            if code_of(error) == "ResourceNotFoundException":
                return None
            raise


def read_token(account: Account, stack: Stack) -> str:
    """Return the password that Redis is to ask for.

    Raises
    ------
    BadInput
        ElastiCache would not take it.
    """
    with speaking("reading Redis' token"):
        answer = account.client("secretsmanager").get_secret_value(SecretId=stack.redis_secret)
    token = ""
    with suppress(ValueError, KeyError, TypeError):
        token = str(json.loads(answer["SecretString"])["password"])
    if not re.fullmatch(r"[A-Za-z0-9!&#$^<>-]{16,128}", token):
        wrong, fix = "it holds no token that ElastiCache takes", "put 16 to 128 letters there, under the key password"
        raise BadInput(f"the secret {stack.redis_secret}", wrong, fix)
    return token


def remote_store(store: StoreSettings) -> StoreSettings:
    """Return the settings of a results database that is a server.

    Raises
    ------
    BadInput
        It is a file; or there are more certificates with it than a secret holds.
    """
    if not store.is_mysql:
        wrong = f"results would go to the file {store.sqlite}, which no worker in the cloud can reach"
        fix = "name a MySQL server: DB_ENDPOINT, DB_USERNAME, DB_PASSWORD and DB_NAME, set or in env_file="
        raise BadInput("results database", wrong, fix)
    if (size := len(_account_of(store).encode())) > SECRET_BYTES:
        wrong = f"the database's secret would have {size:,} bytes with it; Secrets Manager takes {SECRET_BYTES:,}"
        raise BadInput("DB_TLS_CA", wrong, f"use the bundle of your region; {OF_REGION}")
    return store


def refuse_loopback(account: Account, store: StoreSettings) -> None:
    """Refuse a database on this machine, unless AWS is this machine as well.

    Raises
    ------
    BadInput
    """
    aws = urlsplit(account.client("cloudformation").meta.endpoint_url).hostname
    if _is_loopback(store.endpoint or "") and not _is_loopback(aws or ""):
        fix = "name a MySQL server that the stack's network reaches"
        raise BadInput("DB_ENDPOINT", f"{store.endpoint} is this machine, which no worker in the cloud can reach", fix)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host.lower().rstrip(".").split(".")[-1] in ("localhost", "localdomain")
    return address.is_loopback or address.is_unspecified


def write_certificates(account: Account, stack: Stack, in_use: bool) -> bool:
    """Make new certificates unless the stack has good ones; return whether they are new.

    Parameters
    ----------
    account : Account
    stack : Stack
    in_use : bool
        Tasks run with the present ones: then they are renewed only at their very end.
    """
    arns = {"scheduler": stack.scheduler_secret, "worker": stack.worker_secret, "client": stack.client_secret}
    present = {role: read_secret(account, arn) for role, arn in arns.items()}
    if _good_for(present) > (IN_USE_DAYS if in_use else RENEW_DAYS):
        return False
    made = make_certificates()
    for role, arn in arns.items():
        _write(account, arn, made.documents[role])
    return True


def write_database(account: Account, stack: Stack, store: StoreSettings) -> bool:
    """Write the account of the results database; return whether it differs from what was there."""
    wanted = _account_of(store)
    if read_secret(account, stack.database_secret) == wanted:
        return False
    _write(account, stack.database_secret, wanted)
    return True


def _account_of(store: StoreSettings) -> str:
    """Return what the database's secret is to hold: the variables that tasks are given."""
    return json.dumps(store.to_environ(), sort_keys=True)


def _good_for(present: dict[str, str | None]) -> float:
    """Return for how many days the three certificates are good together: each valid, all of one authority."""
    documents = {role: document for role, document in present.items() if document}
    try:
        authorities = {read_security(document, role).tls_ca_file for role, document in documents.items()}
    except Corrupt:
        return 0.0
    if len(documents) < len(present) or len(authorities) != 1:
        return 0.0  # a deployment was broken off between two of them
    return min(days_left(document) for document in documents.values())


def _write(account: Account, arn: str, value: str) -> None:
    with speaking("writing a secret"):
        account.client("secretsmanager").put_secret_value(SecretId=arn, SecretString=value)
