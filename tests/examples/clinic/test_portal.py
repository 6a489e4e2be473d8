"""The customers' portal: the key's owner switches it, and sees who asked for it."""

from tests.examples.clinic.browsing import Browser, Clinic


def buttons(clinic: Clinic, name: str) -> list[str]:
    page = Browser(clinic.portal).page(f"/{name}")
    return [one for one in ("Disable", "Enable", "Rotate", "Delete", "Recover") if f">{one} the key<" in page]


def test_a_key_is_switched_off_and_on_deleted_and_recovered(clinic: Clinic) -> None:
    staff = clinic.browser("reception@hillside.example")
    for action, works, left in (
        ("disable", False, ["Enable", "Delete"]),
        ("enable", True, ["Disable", "Rotate", "Delete"]),
        ("delete", False, ["Recover"]),
        ("recover", True, ["Disable", "Rotate", "Delete"]),
        ("rotate", True, ["Disable", "Rotate", "Delete"]),
    ):
        clinic.customer("hillside", action)
        assert (staff.get("/patients").status_code == 200) is works, action
        assert buttons(clinic, "hillside") == left, action
    assert "(newest: it wraps)" in Browser(clinic.portal).page("/hillside")


def test_the_owner_sees_who_asked_for_the_key_and_what_came_of_it(clinic: Clinic) -> None:
    staff = clinic.browser("reception@hillside.example")
    clinic.customer("hillside", "disable")
    staff.get("/patients")
    page = Browser(clinic.portal).page("/hillside")
    assert "KeyRevoked" in page and "the clinic application" in page
    assert ">revoked<" in page and ">unwrap<" in page


def test_only_a_form_of_the_portal_changes_a_key(clinic: Clinic) -> None:
    browser = Browser(clinic.portal)
    token = clinic.browser().token("/sign-in")
    for form in ({}, {"csrf_token": token}):
        assert browser.http.post("/hillside/disable", data=form).status_code == 400
    assert browser.post("/hillside/enable", {}, seen_at="/hillside").status_code == 409  # it is on
    assert browser.get("/nobody").status_code == 404
    assert clinic.storage.vaults["hillside"].state == "enabled"


def test_one_customers_key_serves_nobody_else(clinic: Clinic) -> None:
    hillside = clinic.storage.vaults["hillside"].kek_uri
    assert clinic.storage.may_serve("hillside", hillside)
    assert not clinic.storage.may_serve("riverside", hillside)
    assert not clinic.storage.may_serve("lakeside", "https://evil.vault.azure.net/keys/k")
