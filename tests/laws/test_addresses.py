from hypothesis import given
from hypothesis import strategies as st

from provider.config import Config
from provider.decisions.addresses import IPAddress, instance_addresses, prefer_node_ips
from provider.model import Instance
from tests.laws.strategies import (
    configs,
    instances,
    ips,
    reporting_instances,
    reports_in_two_orders,
)


@given(reports_in_two_orders(), configs())
def test_the_order_of_addresses_depends_on_no_order_of_the_guests_report(
    reports: tuple[Instance, Instance], config: Config
) -> None:
    first, second = (instance_addresses(one, config.addresses, ()) for one in reports)
    assert first == second


@given(reporting_instances, configs(), ips)
def test_an_address_that_goes_moves_no_other(
    instance: Instance, config: Config, gone: IPAddress
) -> None:
    everything = instance_addresses(instance, config.addresses, ())
    rest = instance_addresses(instance, config.addresses, {gone})
    assert rest == tuple(one for one in everything if one.address != str(gone))


@given(instances, configs(), st.frozensets(ips))
def test_no_address_is_given_twice_or_made_up(
    instance: Instance, config: Config, shared: frozenset[IPAddress]
) -> None:
    found = instance_addresses(instance, config.addresses, shared)
    texts = [one.address for one in found]
    assert len(texts) == len(set(texts))
    reported = {str(ip) for each in instance.interfaces for ip in each.addresses}
    assert set(texts) - {instance.fqdn} <= reported - {str(ip) for ip in shared}


@given(instances, configs(), st.lists(ips, max_size=2, unique=True))
def test_preferring_ips_adds_nothing_and_puts_them_first(
    instance: Instance, config: Config, provided: list[IPAddress]
) -> None:
    known = instance_addresses(instance, config.addresses, ())
    preferred = prefer_node_ips(known, provided)
    if preferred is None:
        assert {str(ip) for ip in provided} - {one.address for one in known}
    else:
        assert set(preferred) <= set(known)
        assert [one.address for one in preferred[: len(provided)]] == [str(ip) for ip in provided]
        assert prefer_node_ips(preferred, provided) == preferred
