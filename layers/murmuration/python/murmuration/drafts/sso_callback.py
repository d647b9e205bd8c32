"""The identity provider's callback: today's logins and the founding draft's come back to one address.

This module stands above both, so that neither has to know the other.
"""

from __future__ import annotations

from collections.abc import Mapping

from murmuration.accounts.sso import login as sso
from murmuration.pages import Page
from murmuration.storage.auth import login_states


def finish_sso(query: Mapping[str, str], *, cookies: str) -> Page:
    """Take the stored state that the browser brings, and finish what it was stored for. A state is good once.

    A request of the founding draft's is answered in its form, all else with a page. Raises Forbidden,
    UserDeactivated, Unavailable.
    """
    pending = login_states.take(query.get("state", ""))
    if pending is not None and pending.purpose["for"] == sso.LOGIN_STAGE:
        from murmuration.drafts.v1.logins import finish_oauth2

        return finish_oauth2(pending, query, cookies)
    return sso.finish(pending, query, cookies)
