"""What the error pages of a real engine become: one sentence for a person."""

import pytest

from provider.errors import LoginRefused
from provider.ovirt.faults import Reply, login_fault, request_fault
from tests.ovirt.recordings import body


@pytest.mark.parametrize(
    ("recording", "status", "said"),
    [
        ("162-restart-down-503.html", 503, "it is down, starting or stopping."),
        ("160-restart-stopping-503.html", 503, "it is down, starting or stopping."),
        ("161-restart-stopping-list-500.html", 500, "500 - Internal Server Error."),
        ("095-vms-user-follow.html", 500, "Error processing request."),
        ("009-api-no-auth.html", 401, "Unauthorized."),
        (
            "037-vms-search-id-malformed.json",
            400,
            "statementcallback; sql; error: invalid input syntax for type uuid:",
        ),
    ],
)
def test_a_page_of_the_engine_is_said_in_a_sentence(
    recording: str, status: int, said: str
) -> None:
    error = request_fault("east", Reply(status, {}, body(recording)), "/vms")

    assert error.message.startswith(f"engine east: answers {status} to /vms: {said}")


def test_an_answer_without_words_is_a_sentence_too() -> None:
    error = request_fault("east", Reply(404, {}, b""), "/vms")

    assert str(error).startswith("engine east: answers 404 to /vms. The engine is stopping")


def test_a_wrong_password_is_said_with_its_user_and_the_danger_of_trying() -> None:
    reply = Reply(400, {}, body("002-sso-wrong-password.json"))

    error = login_fault("east", "kubernetes@internal", reply)

    assert isinstance(error, LoginRefused)
    assert "refuses the log-in of kubernetes@internal" in error.message
    assert "lock the account" in error.remedy
