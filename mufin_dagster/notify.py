"""Who is told that a run failed: the log, a webhook, a mail, as `automation.notify` says.

Secrets come from the environment alone:

    MUFIN_WEBHOOK_URL     where to POST; its path is often the secret
    MUFIN_WEBHOOK_TOKEN   sent as `Authorization: Bearer ...`, where set
    MUFIN_MAIL_USER, MUFIN_MAIL_PASSWORD   for a mail server that asks for them, over TLS
"""

from __future__ import annotations

import json
import logging
import os
import smtplib
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from email.message import EmailMessage

from mufin_dagster.settings import Automation
from mufin_model.errors import MufinError

TIMEOUT_SECONDS = 10.0
ATTEMPTS = 2
"""A server that does not answer must not hold up the sensor, whose whole tick has a minute."""

logger = logging.getLogger("mufin")


class NotifyError(MufinError):
    """A message could not be sent."""


@dataclass(frozen=True)
class Message:
    """One message: a line, its explanation, and what a program wants to know.

    `facts` become fields of the webhook's JSON and lines of the mail.
    """

    title: str
    text: str
    facts: Mapping[str, str] = field(default_factory=dict)


def send(settings: Automation, message: Message) -> list[str]:
    """Send a message by every way that is set; a way that fails keeps no other from being tried.

    Returns:
        What went wrong, one line a way; nothing of a secret is in it.
    """
    troubles = []
    for way in settings.notify:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                WAYS[way](settings, message)
                break
            except NotifyError as error:
                troubles.append(f"{way}: {error.what}")
                break
            except (OSError, smtplib.SMTPException) as error:
                if attempt == ATTEMPTS:
                    troubles.append(f"{way}: {_harmless(error)}")
    for trouble in troubles:
        logger.error("not told, %s: %s", trouble, message.title)
    return troubles


def _log(_: Automation, message: Message) -> None:
    logger.error("%s\n%s", message.title, message.text)


def _webhook(_: Automation, message: Message) -> None:
    url = os.environ.get("MUFIN_WEBHOOK_URL", "")
    if not url.startswith(("https://", "http://")):
        raise NotifyError("MUFIN_WEBHOOK_URL is not set to an http address", mend="set it where the daemon runs")
    headers = {"Content-Type": "application/json", "User-Agent": "mufin"}
    if token := os.environ.get("MUFIN_WEBHOOK_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    # `text` is the field that chat services show
    told = {**asdict(message), "text": f"{message.title}\n{message.text}"}
    request = urllib.request.Request(url, json.dumps(told).encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS):
        pass


def _email(settings: Automation, message: Message) -> None:
    if not settings.mail_to:
        raise NotifyError("automation.mail_to is empty", mend="name who gets the mails")
    mail = EmailMessage()
    mail["Subject"] = " ".join(message.title.split())
    mail["From"] = settings.mail_from
    mail["To"] = ", ".join(settings.mail_to)
    facts = "\n".join(f"{name}: {value}" for name, value in message.facts.items())
    mail.set_content(f"{message.text}\n\n{facts}\n")
    with smtplib.SMTP(settings.mail_host, settings.mail_port, timeout=TIMEOUT_SECONDS) as server:
        if user := os.environ.get("MUFIN_MAIL_USER"):
            # never a password in the clear: where the server has no TLS this raises
            server.starttls(context=ssl.create_default_context())
            server.login(user, os.environ.get("MUFIN_MAIL_PASSWORD", ""))
        server.send_message(mail)


def _harmless(error: Exception) -> str:
    """What went wrong without the address, whose path may be a secret."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code}"
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None)
    return f"{type(error).__name__}{f': {reason}' if reason else ''}"


WAYS: dict[str, Callable[[Automation, Message], None]] = {"log": _log, "webhook": _webhook, "email": _email}
