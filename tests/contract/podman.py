"""In what Podman's Docker-compatible API is known to differ from the Docker Engine (measured with Podman 5.8).

The updater refuses Podman's containers for these reasons; what is not listed here holds for it as well.
"""

from __future__ import annotations

from collections.abc import Mapping

_DIFFERENCES: Mapping[str, tuple[str, ...]] = {
    "tells the same in other words or with another status": (
        "paused_container_refuses_start_and_removal",
        "created_container_cannot_be_paused",
        "taken_name_is_refused_at_create",
        "taken_name_is_refused_at_rename",
        "malformed_name_is_refused",
        "missing_container_is_told_by_every_verb",
        "missing_image_is_refused_at_create",
        "other_platform_is_refused_at_create",
        "auto_remove_excludes_restart_policy",
        "impossible_policy_is_refused",
        "missing_command_fails_at_start",
        "taken_port_fails_at_start",
        "taken_port_leaves_stopped_container_exited",
        "static_address_belongs_to_one_at_a_time",
        "missing_network_is_told",
        "running_container_cannot_be_removed",
        "image_of_a_running_container_cannot_be_removed",
        "image_with_names_in_two_repositories_is_not_removed_by_id",
        "missing_image_is_told",
        "private_image_is_pulled_with_its_login_only",
        "pull_of_unknown_tag_fails",
        "pull_that_breaks_off_tells_so_in_its_stream",
        "container_without_command_is_refused",
        "command_without_a_shell_cannot_start",
        "container_that_does_not_run_is_refused",
        "container_that_is_not_there_is_refused",
        "host_name_conflicts_with_network_of_another",
        "private_memory_cannot_be_shared",
        "volumes_of_a_missing_container_are_refused_at_create",
        "restart_of_nobody_is_told",
    ),
    "stops no paused container, and restarts none": (
        "paused_container_can_be_stopped",
        "restart_lets_a_paused_container_run",
    ),
    "ends a stop that nobody waits for any more": ("stop_goes_on_when_its_caller_goes_away",),
    "shows names of images in full": (
        "container_can_be_made_from_an_image_id",
        "tag_moves_and_list_shows_image_id",
        "untag_takes_one_name",
    ),
    "adds to the environment, labels and limits of its own": (
        "request_comes_back_merged_with_image",
        "recreation_asks_for_what_was_asked",
    ),
    "imports no image with a health check": (
        "health_begins_with_starting_and_becomes_healthy",
        "failing_check_makes_unhealthy",
        "stopped_container_is_unhealthy",
        "no_check_means_no_health",
    ),
    "shows assigned values where the request was": (
        "random_port_is_assigned_and_request_kept",
        "endpoint_shows_request_before_and_results_while_running",
    ),
    "has no network `bridge`, and looks for networks at create": (
        "missing_network_fails_at_start",
        "generated_mac_address_comes_from_address_before_engine_28",
        "created_container_can_be_connected",
    ),
    "has other rules for files that are put in": (
        "missing_path_is_told",
        "file_that_was_put_in_comes_out_again",
        "nothing_is_put_into_a_read_only_container",
        "injected_file_is_found_carried_over_and_found_again",
    ),
    "keeps a used image also against force, and the digest of what it made": (
        "image_of_a_container_keeps_its_last_name",
        "pull_moves_tag_and_keeps_old_image_by_digest",
    ),
    "asks no registry for us": ("engine_asks_registry_for_us",),
    "is not the Docker Engine": ("engine_tells_what_it_is",),
    "looks for the target of a namespace at create, starts it with its dependent, and removes it after it": (
        "network_of_another_container_is_stored_by_id",
        "dependent_runs_on_when_its_network_target_stops",
        "missing_network_target_fails_at_start",
        "names_are_the_targets_from_the_start_on",
        "dependent_cannot_be_started_again_once_its_target_is_gone",
        "paused_target_can_be_joined",
        "chain_of_networks_hangs_on_its_first_container",
        "first_process_of_a_namespace_takes_the_others_along",
        "missing_namespace_target_is_refused_at_create",
        "namespace_needs_its_target_running_at_start",
        "killed_dependent_does_not_come_back_before_its_target",
        "memory_of_a_stopped_target_is_kept_by_its_dependent",
        "dependents_move_to_the_successor",
        "target_that_is_gone_refuses_the_dependent",
    ),
    "supports no links": (
        "link_follows_its_container_and_needs_it_running",
        "link_by_id_shows_names",
        "link_to_nobody_is_refused_at_create",
        "link_user_runs_on_and_goes_with_the_old_target",
        "link_is_gone_from_the_target_with_its_user",
        "link_moves_to_the_successor",
    ),
    "lists the volumes of others among the binds": (
        "volumes_of_another_come_from_it_again",
        "volumes_stay_when_their_source_is_gone",
    ),
    "knows no state `restarting`": (
        "restart_loop_shows_in_count_and_state",
        "stop_ends_restart_loop",
        "start_in_restart_loop_changes_nothing",
        "restarting_container_cannot_be_removed",
        "rename_in_restart_loop_needs_engine_28",
        "policy_no_ends_restart_loop",
        "on_failure_gives_up_after_its_limit",
    ),
}
"""What Podman does, and the tests that it fails because of that, without their first word."""


def difference_shown_by(test: str) -> str | None:
    """Return why Podman fails a test, None where it should not."""
    name = test.removeprefix("test_")
    return next((f"Podman {what}" for what, tests in _DIFFERENCES.items() if name in tests), None)
