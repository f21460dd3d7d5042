"""The edges of applying from Git: for each of them the test that shows how it is handled."""

from __future__ import annotations

import importlib

OBJECTS, DISASTERS = "faults.test_disasters_objects", "faults.test_disasters"
HERE = "reconcile.test_edge_cases"

EDGES: dict[int, tuple[str, ...]] = {
    # A 422 is not always an immutable field, and never a reason to delete by itself.
    1: (
        f"{OBJECTS}::test_an_invalid_change_deletes_nothing",
        "reconcile.test_replace::test_what_would_not_be_admitted_is_never_deleted",
        "reconcile.test_replace::test_refusals_are_read_by_their_causes",
    ),
    # A 500 does not always pass: duplicate list keys, unknown fields.
    2: (
        f"{HERE}::test_duplicate_keys_are_a_problem_and_not_repeated",
        f"{HERE}::test_duplicates_that_are_live_already_are_told",
        "reconcile.test_plan::test_unknown_and_wrong_fields_are_problems_with_their_line",
    ),
    # resourceVersion locks; alone it creates anew what was deleted, so the uid goes with it.
    3: (
        "kube.test_apply::test_object_that_moved",
        "kube.test_apply::test_object_that_is_gone",
        "kube.test_apply::test_object_that_was_made_anew",
        "kube.test_apply::test_delete_under_a_lock",
        "faults.test_races::test_no_unreviewed_field_is_ever_overwritten",
    ),
    # What others add is not in a dry run's difference.
    4: (f"{HERE}::test_what_others_added_stays",),
    # A correction takes the editor's name off the fields.
    5: ("reconcile.test_apply::test_evidence_is_on_disk_before_a_correction",),
    # Times of managedFields: an apply that changes nothing must not move them.
    6: (f"{HERE}::test_a_pass_without_changes_leaves_no_trace",),
    # Any client may call itself by the app's manager.
    7: (f"{HERE}::test_an_edit_under_the_apps_own_name_is_seen",),
    8: ("reconcile.test_takeover::test_wiped_managed_fields_do_not_keep_fields_for_ever",),
    9: (
        "reconcile.test_takeover::test_what_git_drops_from_kubectls_object_goes",
        "reconcile.test_takeover::test_a_deployment_of_kubectl_loses_only_what_git_drops",
    ),
    # stringData would leave keys behind.
    10: (
        "reconcile.test_desired::test_string_data_becomes_data",
        f"{HERE}::test_a_key_dropped_from_string_data_goes",
    ),
    # Scaling is written by a subresource, and belongs to the autoscaler.
    11: (
        "reconcile.test_optouts::test_replicas_belong_to_the_autoscaler",
        "reconcile.test_optouts::test_a_scaling_between_plan_and_apply_is_kept",
        "reconcile.test_optouts::test_without_an_autoscaler_replicas_are_gits",
    ),
    # generateName has no identity; managedFields and a null creationTimestamp are not sent.
    12: (
        f"{HERE}::test_a_generated_name_is_refused",
        f"{HERE}::test_an_exported_object_can_be_applied",
        "reconcile.test_desired::test_the_servers_fields_are_left_out_and_told",
    ),
    # Quantities have a normal form in built-in kinds and none in custom resources.
    13: (
        "reconcile.test_plan::test_what_was_applied_is_unchanged",
        "reconcile.test_proof::test_quantities_have_the_servers_form",
        f"{HERE}::test_quantities_of_custom_resources_stay_as_written",
    ),
    # Lists that merge by keys, sets and atomic ones; the default protocol is part of a key.
    14: (
        "reconcile.test_diff::test_ports_are_matched_by_number_and_protocol",
        "reconcile.test_proof::test_never_unchanged_where_a_dry_run_says_changed",
    ),
    # Rules that are null, empty or made by aggregation.
    15: (f"{HERE}::test_roles_without_rules_do_not_change_for_ever",),
    # Definitions must be established; caBundles are injected.
    16: (
        "reconcile.test_apply::test_a_definition_and_its_resource_go_in_one_apply",
        f"{HERE}::test_an_injected_ca_bundle_is_left",
        "reconcile.test_optouts::test_an_injected_certificate_is_no_drift",
    ),
    17: (
        "reconcile.test_apply::test_a_new_namespace_and_what_is_in_it_go_in_one_apply",
        f"{OBJECTS}::test_a_system_namespace_is_never_deleted",
        "reconcile.test_waves::test_a_namespace_in_use_is_never_deleted",
    ),
    # Deletes: the other way round, not again, not for ever, and gone is done.
    18: (
        f"{HERE}::test_a_finalizer_that_nobody_clears_does_not_block",
        f"{HERE}::test_what_is_gone_already_is_no_failure",
        "reconcile.test_apply::test_stages_put_first_what_others_need",
    ),
    19: (f"{OBJECTS}::test_the_same_object_through_another_group",),
    20: (
        "reconcile.test_moves::test_it_is_handed_over_in_any_order",
        f"{OBJECTS}::test_an_object_that_the_other_app_owns_by_now",
        f"{OBJECTS}::test_an_object_that_moves_is_never_silently_taken",
        "reconcile.test_plan::test_an_object_of_another_app_is_refused",
    ),
    21: (
        f"{OBJECTS}::test_labels_copied_to_children",
        f"{OBJECTS}::test_a_child_of_an_operator_is_its_owners",
    ),
    22: (
        "reconcile.test_desired::test_a_namespace_on_a_cluster_scoped_kind_is_left_out_and_told",
        f"{OBJECTS}::test_a_namespace_on_a_cluster_scoped_object",
    ),
    23: (
        "reconcile.test_apply::test_the_inventory_is_what_was_applied",
        "faults.test_kill::test_a_killed_apply_is_made_whole_by_the_next",
        f"{OBJECTS}::test_a_failed_delete_leaves_no_orphan",
        f"{DISASTERS}::test_half_of_the_first_apply_fails",
    ),
    # managedFields of a version that is no longer served.
    24: (f"{HERE}::test_a_version_that_is_no_longer_served",),
    # What a dry run cannot say: new namespaces, new kinds, webhooks that fail.
    25: (
        "reconcile.test_plan::test_objects_of_a_new_namespace_are_simulated_and_checked",
        "reconcile.test_plan::test_a_custom_resource_beside_its_definition_is_simulated",
        f"{HERE}::test_no_webhook_may_be_against_dry_runs",
        "faults.test_server_busy::test_a_webhook_that_stays_broken",
    ),
    26: (
        "reconcile.test_mask::test_no_value_is_left_in_a_masked_secret",
        "reconcile.test_mask::test_tokens_tell_equal_from_different",
        "reconcile.test_mask::test_messages_lose_the_values",
        "reconcile.test_plan::test_secret_values_are_in_no_plan",
        "reconcile.test_apply::test_evidence_has_no_secret",
    ),
    27: (
        "reconcile.test_health::test_job_cleared_away_by_its_ttl_is_no_loss",
        "reconcile.test_health::test_built_in_kinds",
    ),
    28: (
        "reconcile.test_health::test_built_in_kinds",
        "reconcile.test_health::test_generation",
        "reconcile.test_apply::test_an_unhealthy_apply_prunes_nothing",
    ),
    29: (
        f"{HERE}::test_only_what_passes_by_itself_is_repeated",
        "faults.test_server_busy::test_a_storm_of_429",
        "faults.test_server_busy::test_a_webhook_that_fails_and_is_mended",
        "faults.test_server::test_connections_that_break",
    ),
    30: (
        "source.test_yamlload::test_scalars_mean_what_kubectl_says",
        "source.test_yamlload::test_structures_mean_what_kubectl_says",
    ),
    31: (
        "kube.test_apply::test_refresh_after_a_definition",
        f"{HERE}::test_discovery_leaves_no_file_for_others",
    ),
    32: (
        "source.test_render::test_a_kustomization_cannot_reach_out",
        "source.test_mirror_hostile::test_links_that_lead_out",
        "source.test_render::test_an_object_declared_twice_is_refused_with_both_places",
    ),
    33: (
        "source.test_mirror::test_rewritten_history",
        f"{DISASTERS}::test_a_shallow_clone_as_the_source",
        f"{DISASTERS}::test_the_folder_vanishes_for_a_moment",
        f"{DISASTERS}::test_a_branch_that_was_forced_to_another_history",
    ),
    34: (
        "reconcile.test_loop::test_a_second_loop_waits_for_the_lease",
        "kube.test_lease::test_frozen_holder",
        "kube.test_lease::test_same_holder_after_a_restart",
    ),
}


def test_every_edge_has_a_test() -> None:
    """All 34 are in the table, and each test that it names exists and is one."""
    assert sorted(EDGES) == list(range(1, 35))
    named = {name for names in EDGES.values() for name in names}
    for name in sorted(named):
        module, _, function = name.partition("::")
        found = getattr(importlib.import_module(module), function, None)
        assert callable(found), f"{name} does not exist"
        assert function.startswith("test_"), name
        assert found.__doc__, f"{name} does not say what holds"
    print(f"{len(EDGES)} edges, {len(named)} tests")
