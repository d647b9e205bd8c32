"""The identity provider's callback: today's logins and those of the founding draft return to one address.

This module depends on both kinds of login, so that neither of them depends on the other.
"""

from __future__ import annotations

from collections.abc import Mapping

from murmuration.accounts.sso import login as sso
from murmuration.pages import Page
from murmuration.storage.auth import login_states


def finish_sso(query: Mapping[str, str], *, cookies: str) -> Page:
    """Finish the login or stage whose stored state the browser brings. A state can be used once.

    Requests of the founding draft are answered in its form, others with a page. Raises Forbidden,
    UserDeactivated, Unavailable.
    """
    pending = login_states.take(query.get("state", ""))
    if pending is not None and pending.purpose["for"] == sso.LOGIN_STAGE:
        from murmuration.drafts.v1.logins import finish_oauth2

        return finish_oauth2(pending, query, cookies)
    return sso.finish(pending, query, cookies)
