"""Words that were renamed: rows are read in both spellings, settings say what the new one is."""

import pytest

from gatewayz.core.faults import FAULTS, Fault
from gatewayz.core.renamed import (
    FAULT_CODES,
    LIMITS,
    SETTINGS,
    current_fault_code,
    current_limits,
    fault_code_spellings,
)
from gatewayz.limits.rules import LimitRules
from gatewayz.settings import load_settings


@pytest.mark.parametrize("renamed", FAULT_CODES)
def test_a_renamed_fault_is_found_under_both_spellings(renamed):
    assert renamed.new in FAULTS
    assert current_fault_code(renamed.old) == current_fault_code(renamed.new) == renamed.new
    assert set(fault_code_spellings(renamed.new)) == {renamed.old, renamed.new}
    assert fault_code_spellings(renamed.old) == fault_code_spellings(renamed.new)


def test_a_fault_that_was_never_renamed_is_itself():
    assert current_fault_code("upstream_cut") == "upstream_cut"
    assert fault_code_spellings("upstream_cut") == ("upstream_cut",)
    assert current_fault_code("") == ""


@pytest.mark.parametrize("renamed", LIMITS)
def test_a_renamed_limit_has_the_name_of_today_and_the_new_one_holds_where_there_are_both(renamed):
    assert renamed.new in LimitRules.__struct_fields__
    assert current_limits({renamed.old: 3, "key_rpm": 5}) == {renamed.new: 3, "key_rpm": 5}
    assert current_limits({renamed.old: 3, renamed.new: 7}) == {renamed.new: 7}


@pytest.mark.parametrize("renamed", SETTINGS)
def test_a_renamed_setting_is_refused_with_its_new_name(renamed):
    section, _, name = renamed.old.partition(".")
    with pytest.raises(Fault, match=f"{renamed.old}: .* called {renamed.new} since version"):
        load_settings("", {section: {name: 1} if name else {}})
