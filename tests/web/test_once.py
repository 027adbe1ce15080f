"""A form that is sent twice has one effect, also at the same moment."""

import threading
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from runs.models import BulkJob
from runs.states import RunState
from tests.factories import make_run, make_user
from tests.web.test_bulk import FAILED, address, failed, form_of


def test_a_form_without_its_token_makes_no_job(operator: Client) -> None:
    failed()
    for token in ("", "nonsense"):
        answer = operator.post(address(), {"mode": "failed", "once": token})
        assert answer.status_code == 400
        assert "sent without its token" in answer.content.decode()
    assert not BulkJob.objects.exists()


def test_a_token_of_another_address_is_not_answered_with_that_ones_job(operator: Client) -> None:
    failed()
    form = {"mode": "failed", **form_of(operator.get(address()).content.decode())}
    operator.post(address(), form)
    assert operator.post(address(everything="1"), form).status_code == 400
    assert BulkJob.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_forms_sent_at_the_same_moment_one_counts_and_all_lead_to_its_job() -> None:
    make_run(state=RunState.FAILED)
    user = make_user("operator")
    first = Client()
    first.force_login(user)
    url = address(query=FAILED)
    form = {"mode": "failed", **form_of(first.get(url).content.decode())}
    answers: list[Any] = []
    ready = threading.Barrier(4)

    def send(client: Client) -> None:
        ready.wait()
        answers.append(client.post(url, form))
        connection.close()

    clients = [Client() for _ in range(4)]
    for client in clients:
        client.force_login(user)
    threads = [threading.Thread(target=send, args=[client]) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    job = BulkJob.objects.get()
    assert [answer["Location"] for answer in answers] == [reverse("bulk_job", args=[job.pk])] * 4
