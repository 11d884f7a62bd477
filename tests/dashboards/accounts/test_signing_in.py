"""Signing in and out, one's password, the first admin, and the demo's one-click people."""

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.test import Client
from django.test.utils import override_settings

from dashboards.setting_up import first_admin_create
from governance.audit.models import AuditRecord
from governance.tenancy.access import member_actor
from governance.tenancy.models import Member, Organization, Role, User
from governance.tenancy.services import member_add
from tests.conftest import PASSWORD, person
from tests.dashboards.accounts.guessing import guess
from tests.ingest.concurrency.crew import Job, crew_run

SIGN_IN = "/sign-in"
NEW = "a brand new battery"


@pytest.fixture(autouse=True)
def no_attempts_yet(db: None) -> Iterator[None]:
    """Rates of sign-in attempts are counted in the cache, which lies in the database."""
    cache.clear()
    yield
    cache.clear()


def sign_in(client: Client, member: Member, password: str = PASSWORD, **fields: str) -> object:
    return client.post(SIGN_IN, {"login": member.user.email, "password": password, **fields})


def is_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_right_password_opens_the_start_page(client: Client, admin: Member) -> None:
    answer = sign_in(client, admin)
    assert answer["Location"] == "/"
    assert client.get("/")["Location"] == "/o/acme/"
    cookie = answer.cookies["sessionid"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")


def test_engineer_starts_at_the_own_usage(client: Client, engineer: Member) -> None:
    client.force_login(engineer.user)
    assert client.get("/")["Location"] == "/o/acme/my-usage"


def test_wrong_password_is_said_without_saying_which_half_was_wrong(client: Client, admin: Member) -> None:
    wrong = sign_in(client, admin, "not this one")
    unknown = client.post(SIGN_IN, {"login": "nobody@acme.example", "password": "not this one"})
    for answer in (wrong, unknown):
        assert b"are not correct" in answer.content
    assert not is_in(client)


def test_guessing_is_slowed_down(client: Client, admin: Member) -> None:
    for _ in range(5):
        sign_in(client, admin, "a guess")
    answer = sign_in(client, admin)
    assert not is_in(client)
    assert answer.status_code == 429 or b"Too many" in answer.content


@pytest.mark.django_db(transaction=True)
def test_guesses_at_several_processes_are_added_up(admin: Member) -> None:
    counted = crew_run([Job(guess, (admin.user.email, 2)), Job(guess, (admin.user.email, 2))])
    assert counted == [[False, False], [False, False]]
    assert crew_run([Job(guess, (admin.user.email, 2))]) == [[False, True]]


def test_closed_account_does_not_open(client: Client, admin: Member) -> None:
    admin.user.is_active = False
    admin.user.save()
    assert sign_in(client, admin)["Location"] == SIGN_IN
    assert not is_in(client)
    assert b"This account was closed" in client.get(SIGN_IN).content


@pytest.mark.parametrize("elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example", "https:evil.example"])
def test_next_leads_nowhere_else(client: Client, admin: Member, elsewhere: str) -> None:
    assert b"evil" not in client.get(SIGN_IN, {"next": elsewhere}).content
    assert sign_in(client, admin, next=elsewhere)["Location"] == "/"


def test_next_leads_back(client: Client, admin: Member) -> None:
    asked = client.get("/o/acme/budgets?state=all")
    assert asked["Location"] == "/sign-in?next=/o/acme/budgets%3Fstate%3Dall"
    assert b'name="next" value="/o/acme/budgets?state=all"' in client.get(asked["Location"]).content
    assert b'name="next" value="/o/acme/budgets"' in sign_in(client, admin, "wrong", next="/o/acme/budgets").content
    assert sign_in(client, admin, next="/o/acme/budgets")["Location"] == "/o/acme/budgets"


def test_session_of_a_visitor_is_not_taken_over(client: Client, admin: Member) -> None:
    client.get(SIGN_IN)
    session = client.session
    session["mark"] = 1
    session.save()
    before = client.session.session_key
    sign_in(client, admin)
    assert client.session.session_key != before


def test_signing_out_takes_a_post(client: Client, admin: Member) -> None:
    client.force_login(admin.user)
    assert client.get("/sign-out").status_code == 405
    assert is_in(client)
    assert client.post("/sign-out")["Location"] == SIGN_IN
    assert not is_in(client)


def test_forged_post_is_refused_with_a_sentence(admin: Member) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin.user)
    answer = client.post("/sign-out")
    assert answer.status_code == 403
    assert b"too old" in answer.content
    assert is_in(client)


def test_changing_the_password_ends_other_sessions(admin: Member) -> None:
    here, there = Client(), Client()
    for client in (here, there):
        client.force_login(admin.user)
    changed = here.post("/password", {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW})
    assert changed["Location"] == "/"
    assert here.get("/o/acme/budgets").status_code == 200
    assert there.get("/o/acme/budgets").status_code == 302
    admin.user.refresh_from_db()
    assert admin.user.check_password(NEW)


@pytest.mark.parametrize(("old", "new", "again"), [("not this one", NEW, NEW), (PASSWORD, "short", "short"), (PASSWORD, NEW, NEW + "!"), (PASSWORD, "password123", "password123")])
def test_password_is_not_changed_carelessly(client: Client, admin: Member, old: str, new: str, again: str) -> None:
    client.force_login(admin.user)
    assert client.post("/password", {"old_password": old, "new_password1": new, "new_password2": again}).status_code == 422
    admin.user.refresh_from_db()
    assert admin.user.check_password(PASSWORD)


def test_who_was_given_a_password_chooses_another_before_anything_else(client: Client, admin: Member) -> None:
    made = member_add(actor=member_actor(admin), email="new@acme.example", password=PASSWORD)
    assert sign_in(client, made)["Location"] == "/"
    assert [client.get(path)["Location"] for path in ("/", "/o/acme/my-usage", "/o/acme/sessions?state=all")] == ["/password"] * 3
    assert client.post("/o/acme/approvals/new", {})["Location"] == "/password"
    page = client.get("/password").content
    assert b"Choose your own password" in page
    assert b"Cancel" not in page
    same = client.post("/password", {"old_password": PASSWORD, "new_password1": PASSWORD, "new_password2": PASSWORD})
    assert (same.status_code, b"Choose another one" in same.content) == (422, True)
    assert client.post("/password", {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW})["Location"] == "/"
    assert client.get("/")["Location"] == "/o/acme/my-usage"
    assert client.get("/o/acme/my-usage").status_code == 200
    assert b"Cancel" in client.get("/password").content
    row = AuditRecord.objects.get(action="member.password_changed")
    assert (row.actor_id, row.target_id, row.old, row.new) == (made.pk, str(made.pk), None, None)


def test_who_was_given_a_password_may_sign_out(client: Client, admin: Member) -> None:
    made = member_add(actor=member_actor(admin), email="new@acme.example", password=PASSWORD)
    client.force_login(made.user)
    assert client.post("/sign-out")["Location"] == SIGN_IN
    assert not is_in(client)


def test_account_of_somebody_who_has_one_is_left_as_it_is(client: Client, admin: Member, stranger: Member) -> None:
    member_add(actor=member_actor(admin), email=stranger.user.email, password=NEW)
    client.force_login(stranger.user)
    assert client.get("/o/globex/my-usage").status_code == 200


def test_who_belongs_nowhere_is_told_so(client: Client, db: None) -> None:
    client.force_login(User.objects.create_user("alone@acme.example", PASSWORD))
    answer = client.get("/")
    assert b"You belong to no organization" in answer.content
    assert b"alone@acme.example" in answer.content


FIRST = {"organization_name": "Acme Works", "time_zone": "Europe/Berlin", "email": "first@acme.example", "password": "a long enough one"}


def test_first_visit_sets_up_and_later_ones_do_not(client: Client, db: None) -> None:
    assert client.get("/")["Location"] == "/set-up"
    assert client.get(SIGN_IN)["Location"] == "/set-up"
    assert client.get("/set-up").status_code == 200
    assert client.post("/set-up", FIRST)["Location"] == "/o/acme-works/"
    member = Member.objects.get()
    assert (member.role, member.organization.time_zone, member.user.email) == (Role.OWNER, "Europe/Berlin", "first@acme.example")
    assert client.get("/o/acme-works/").status_code == 200
    assert client.get("/set-up").status_code == 404
    assert client.post("/set-up", FIRST).status_code == 404


@pytest.mark.parametrize(("name", "value"), [("password", "short"), ("password", "first@acme.example"), ("email", "nobody"), ("time_zone", "Mars/Base"), ("organization_name", "")])
def test_set_up_says_what_is_wrong(client: Client, db: None, name: str, value: str) -> None:
    answer = client.post("/set-up", FIRST | {name: value})
    assert answer.status_code == 422
    assert b'aria-invalid="true"' in answer.content
    assert not User.objects.exists()


def test_second_of_two_first_admins_comes_too_late(db: None) -> None:
    assert first_admin_create(**FIRST) is not None
    assert first_admin_create(**(FIRST | {"email": "second@acme.example", "organization_name": "Other"})) is None
    assert User.objects.count() == 1


@pytest.fixture
def demo(organization: Organization) -> Organization:
    organization.is_demo = True
    organization.save()
    return organization


def test_demo_people_are_entered_with_one_click_where_that_is_allowed(client: Client, demo: Organization, admin: Member, lead: Member) -> None:
    with override_settings(DEMO_SIGN_IN=True):
        page = client.get(SIGN_IN)
        assert b"An admin: Admin" in page.content
        client.post("/sign-in/demo", {"member": lead.pk})
    assert client.session["_auth_user_id"] == str(lead.user_id)
    assert client.get("/o/acme/my-usage").status_code == 200


def test_nobody_is_entered_where_it_is_not_allowed(client: Client, demo: Organization, admin: Member) -> None:
    assert b"simulated" not in client.get(SIGN_IN).content
    assert client.post("/sign-in/demo", {"member": admin.pk}).status_code == 404
    assert not is_in(client)


@pytest.mark.parametrize("who", ["real", "both", "staff", "gone", "nonsense"])
def test_only_demo_people_are_entered(client: Client, demo: Organization, admin: Member, stranger: Member, other_organization: Organization, who: str) -> None:
    member = str(admin.pk)
    if who == "real":
        member = str(stranger.pk)
    elif who == "both":
        Member.objects.create(organization=other_organization, user=admin.user)
    elif who == "staff":
        User.objects.filter(pk=admin.user_id).update(is_staff=True)
    elif who == "gone":
        Member.objects.filter(pk=admin.pk).update(is_active=False)
    else:
        member = "1 OR 1=1"
    with override_settings(DEMO_SIGN_IN=True):
        assert client.post("/sign-in/demo", {"member": member}).status_code == 404
    assert not is_in(client)


def test_a_fault_is_answered_with_a_sentence(admin: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    from dashboards import navigation

    def broken(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(navigation, "groups", broken)
    client = Client(raise_request_exception=False)
    client.force_login(admin.user)
    answer = client.get("/o/acme/settings/teams")
    assert answer.status_code == 500
    assert b"Something broke on our side" in answer.content
    assert b"secret detail" not in answer.content


def test_person_in_two_organizations_changes_between_them(client: Client, admin: Member, other_organization: Organization) -> None:
    Member.objects.create(organization=other_organization, user=admin.user, role=Role.ENGINEER)
    client.force_login(admin.user)
    page = client.get("/o/acme/settings/teams").content
    assert b'href="/o/globex/"' in page
    assert client.get("/o/globex/settings/teams").status_code == 403
    assert client.get("/o/globex/my-usage").status_code == 200


def test_letter_case_of_an_address_does_not_matter(client: Client, organization: Organization) -> None:
    member = person(organization, email="MiXed@Acme.example", role=Role.ENGINEER)
    assert client.post(SIGN_IN, {"login": "mixed@acme.EXAMPLE", "password": PASSWORD})["Location"] == "/"
    assert client.session["_auth_user_id"] == str(member.user_id)
