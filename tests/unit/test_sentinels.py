"""taskq.sentinels: whom to ask for the primary, and what an answer means."""

from __future__ import annotations

from typing import Any

import pytest

from taskq.address import Address
from taskq.errors import StoreRefused, StoreUnavailable
from taskq.sentinels import Sentinels, check_elected, check_role

GROUP = Address.parse("rediss+sentinel://u:p@a:1,b:2,c:3/main/4?sentinel_password=s")


def hosts(sentinels: Sentinels) -> str:
    return "".join(address.host for address in sentinels.in_order())


def test_the_one_that_answered_is_asked_first() -> None:
    sentinels = Sentinels(GROUP)
    assert hosts(sentinels) == "abc"

    sentinels.answered(sentinels.in_order()[2])
    assert hosts(sentinels) == "cab"
    sentinels.answered(sentinels.in_order()[0])
    assert hosts(sentinels) == "cab"


@pytest.mark.parametrize("reply", [[b"h", b"7"], ("h", 7)])
def test_the_primary_has_the_credentials_of_the_url(reply: Any) -> None:
    sentinels = Sentinels(GROUP)

    assert sentinels.question == ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")
    assert sentinels.primary(reply, sentinels.in_order()[0]) == GROUP.at("h", 7)


def test_an_unknown_service_is_said_with_its_name_and_no_password() -> None:
    sentinels = Sentinels(GROUP)

    with pytest.raises(StoreUnavailable, match="'main'") as caught:
        sentinels.primary(None, sentinels.in_order()[0])
    assert ":s@" not in str(caught.value)


def test_when_all_refuse_the_refusal_counts() -> None:
    refused, away = StoreRefused("wrong password"), StoreUnavailable("away")

    assert Sentinels(GROUP).nobody([refused, refused]) is refused
    assert type(Sentinels(GROUP).nobody([refused, away])) is StoreUnavailable
    assert type(Sentinels(GROUP).nobody([])) is StoreUnavailable


def test_only_a_server_that_says_it_is_primary_is_one() -> None:
    check_role([b"master", 0, []], GROUP)
    for reply in ([b"slave", b"h", 1], [b"sentinel", []], [], None):
        with pytest.raises(StoreUnavailable, match="no primary"):
            check_role(reply, GROUP)


def test_a_server_that_the_sentinels_do_not_name_any_more_is_left() -> None:
    check_elected(GROUP.at("h", 7), GROUP.at("h", 7))

    with pytest.raises(StoreUnavailable, match="replaced while it was asked") as caught:
        check_elected(GROUP.at("h", 8), GROUP.at("h", 7))
    assert "\n" not in str(caught.value)
