"""Settings: the organization, its teams and people, keys, connections, what came in and was not counted, the record."""

from django.urls import path

from dashboards.pages.settings import channels, connections, guard, imports, intake, keys, organization, people, policies, record, teams

urlpatterns = [
    path("settings", organization.profile, name="settings"),
    path("settings/teams", teams.team_list, name="settings-teams"),
    path("settings/teams/<int:team_id>", teams.team_page, name="settings-team"),
    path("settings/projects", teams.project_add, name="settings-project-add"),
    path("settings/members", people.member_list, name="settings-members"),
    path("settings/members/<int:member_id>", people.member_page, name="settings-member"),
    path("settings/service-accounts", people.account_list, name="settings-accounts"),
    path("settings/service-accounts/<int:account_id>", people.account_page, name="settings-account"),
    path("settings/keys", keys.key_list, name="settings-keys"),
    path("settings/keys/<int:key_id>", keys.key_page, name="settings-key"),
    path("settings/channels", channels.channel_list, name="settings-channels"),
    path("settings/channels/<int:endpoint_id>", channels.channel_page, name="settings-channel"),
    path("settings/channels/<int:endpoint_id>/deliveries/<int:delivery_id>", channels.delivery_page, name="settings-delivery"),
    path("settings/channels/mail/<int:notice_id>", channels.mail_page, name="settings-mail"),
    path("settings/approval-policy", policies.policy_list, name="settings-policies"),
    path("settings/approval-policy/organization", policies.organization_policy, name="settings-policy"),
    path("settings/approval-policy/team/<int:team_id>", policies.team_policy, name="settings-team-policy"),
    path("settings/connections", connections.connection_list, name="settings-connections"),
    path("settings/connections-key", connections.key_make, name="settings-connections-key"),
    path("settings/connections/<slug:client>", connections.connection_page, name="settings-connection"),
    path("settings/connections/<slug:client>/test", connections.connection_test, name="settings-connection-test"),
    path("settings/connections/<slug:client>/keys/<int:key_id>", connections.connection_wait, name="settings-connection-wait"),
    path("settings/not-counted", intake.rejected_list, name="settings-intake"),
    path("settings/not-counted/<int:rejected_id>", intake.rejected_page, name="settings-rejected"),
    path("settings/imports", imports.import_list, name="settings-imports"),
    path("settings/imports/<int:import_id>", imports.import_page, name="settings-import"),
    path("settings/labels", intake.label_list, name="settings-labels"),
    path("settings/record", record.record_list, name="settings-record"),
    path("settings/guard", guard.guard_list, name="settings-guard"),
    path("settings/guard/new", guard.rule_new, name="settings-guard-new"),
    path("settings/guard/rules/<int:rule_id>", guard.rule_page, name="settings-guard-rule"),
    path("settings/guard/trials/<int:trial_id>", guard.trial_page, name="settings-guard-trial"),
    path("guard/findings/<int:finding_id>", guard.finding_page, name="guard-finding"),
]
