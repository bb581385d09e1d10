"""Ports are kept while free, replaced when taken, and never among those of outgoing connections."""

import socket

from dataharvest.stack import ports


def test_a_recorded_port_is_kept_while_it_is_free() -> None:
    chosen = ports.keep_or_choose(None)

    assert ports.keep_or_choose(chosen) == chosen


def test_a_recorded_port_that_somebody_took_is_replaced() -> None:
    with socket.create_server((ports.HOST, 0)) as other:
        taken = other.getsockname()[1]

        assert not ports.is_free(taken)
        assert ports.answers(taken)
        assert ports.keep_or_choose(taken) != taken


def test_a_port_given_to_another_service_is_not_chosen_again() -> None:
    first = ports.keep_or_choose(None)

    assert ports.keep_or_choose(first, taken=[first]) != first


def test_a_chosen_port_is_not_one_the_kernel_uses_for_outgoing_connections() -> None:
    chosen = {ports.keep_or_choose(None) for _ in range(20)}

    assert all(ports.LOWEST_PORT <= port < ports.ephemeral_start() for port in chosen)


def test_nothing_answers_on_a_free_port() -> None:
    assert not ports.answers(ports.keep_or_choose(None))
