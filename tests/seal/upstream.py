"""Which of upstream's tests is which test here: every row of v0.40.0, and why some have none.

The names of the integration tests are their descriptions, joined by " / ".
"""

from __future__ import annotations

INNER = "is about parts inside of the controller that nothing here has"
EMPTY = "has no cases upstream"
RENEWED = "test_controller.test_a_renewed_key"
RECREATED = "test_upstream_controller.test_an_owned_secret_is_made_again"
LEFT = "test_upstream_controller.test_a_secret_of_somebody_is_not_made_again"
PRESENT = "test_upstream_controller.test_secret_already_exists"
ELSEWHERE = "test_upstream_controller.test_different_name_and_namespace"
TYPES = "test_upstream_controller.test_type_and_immutable"
CHANGE = "test_upstream_controller.test_simple_change"
WRONG_KEY = "test_upstream_controller.test_wrong_key"
CONTEXT = "test_upstream_controller.test_the_namespace_of_the_kubeconfig"
VERSIONS = "has an option of its own here (opslib --version)"
CONTENTS = "test_controller.test_it_unseals_all_scopes_and_contents"
REFUSED = "test_controller.test_it_refuses_what_check_refuses"

Rows = dict[str, tuple[str, ...] | str]
"""By the name of the test: the tests here as module.function, or why there is none."""

ROWS: dict[str, Rows] = {
    "cmd/controller/main_test.go": {"TestVersion": INNER},
    "cmd/kubeseal/main_test.go": {
        "TestVersion": VERSIONS,
        "TestMainError": ("test_upstream.test_main_error",),
        "TestWriteToFile": ("test_upstream.test_write_to_file",),
        "TestFailToWriteToFile": ("test_upstream.test_fail_to_write_to_file",),
        "Test_runCLI": EMPTY,
        "TestRawSealErrors": ("test_upstream.test_raw_seal_errors",),
    },
    "integration/integration_suite_test.go": {"TestE2e": "starts the tests below"},
    "integration/controller_test.go": {
        "create / Simple change / With no existing object (create)": (CHANGE,),
        "create / Simple change / With existing object (update)": (CHANGE,),
        "create / Simple change / With renamed encrypted keys": (CHANGE,),
        "create / Simple change / With appended encrypted keys": (CHANGE,),
        "create / Secret already exists / With managed annotation": (PRESENT,),
        "create / Secret already exists / With managed and patch annotation": (PRESENT,),
        "create / Secret already exists / With patch annotation": (PRESENT,),
        "create / Secret already exists / With patch annotation and empty secret": (PRESENT,),
        "create / Secret Recreation / With owned secret": (RECREATED,),
        "create / Secret Recreation / With unowned secret with managed annotation": (RECREATED,),
        "create / Secret Recreation / With unowned secret without managed annotation": (LEFT,),
        "create / Secret Recreation / With unowned secret with patch annotation": (LEFT,),
        "create / Same name, wrong key": (WRONG_KEY,),
        "create / Custom Secret Type": (TYPES,),
        "create / Immutable Secret": (TYPES,),
        "create / Immutable Secret Error": (TYPES,),
        "create / Different name/namespace / With wrong name": (ELSEWHERE,),
        "create / Different name/namespace / With wrong namespace": (ELSEWHERE,),
        "create / Different name/namespace / With wrong name and cluster-wide annotation": (
            ELSEWHERE,
        ),
        "create / Different name/namespace / With wrong namespace and cluster-wide annotation": (
            ELSEWHERE,
        ),
        "create / Different name/namespace / With wrong name and namespace-wide annotation": (
            ELSEWHERE,
        ),
        "create / Different name/namespace / With wrong namespace and namespace-wide annotation": (
            ELSEWHERE,
        ),
        "controller --version": INNER,
    },
    "integration/kubeseal_test.go": {
        "kubeseal / Without args": (CONTENTS,),
        "kubeseal / No input namespace": (CONTEXT,),
        "kubeseal / With --namespace": (CONTEXT,),
        "kubeseal / Offline, with --cert": ("test_upstream.test_unseal",),
        "kubeseal (with invalid input)": (
            "test_bad_input.test_what_is_no_secret_is_said_with_its_place",
        ),
        "kubeseal --fetch-cert": ("test_upstream_controller.test_http",),
        "kubeseal --version": VERSIONS,
        "kubeseal --verify / valid sealed secret": (REFUSED,),
        "kubeseal --verify / invalid sealed secret": (REFUSED,),
        "kubeseal --cert": ("test_upstream.test_main_error",),
        "kubeseal --recovery-unseal / without --recovery-private-key": (
            "test_upstream.test_unseal_without_a_key",
        ),
        "kubeseal --recovery-unseal / with valid --recovery-private-key": (
            "test_upstream.test_unseal",
            "test_interop.test_kubeseal_and_opslib_unseal_each_other",
        ),
    },
    "pkg/apis/sealedsecrets/v1alpha1/sealedsecret_test.go": {
        "TestSealingScope": ("test_upstream.test_sealing_scope",),
        "TestEncryptionLabel": ("test_upstream.test_label",),
        "TestLabel": ("test_upstream.test_label",),
        "TestClusterWide": ("test_upstream.test_label",),
        "TestNamespaceWide": ("test_upstream.test_label",),
        "TestClusterAndNamespaceWide": ("test_upstream.test_label",),
        "TestSerialize": ("test_upstream.test_serialize",),
        "TestSealRoundTrip": ("test_upstream.test_round_trip",),
        "TestSealRoundTripStringDataConversion": ("test_upstream.test_round_trip",),
        "TestSealRoundTripWithClusterWide": ("test_upstream.test_round_trip",),
        "TestSealRoundTripWithMisMatchClusterWide": ("test_upstream.test_round_trip_mismatch",),
        "TestSealRoundTripWithNamespaceWide": ("test_upstream.test_round_trip",),
        "TestSealRoundTripWithMisMatchNamespaceWide": ("test_upstream.test_round_trip_mismatch",),
        "TestSealRoundTripTemplateData": ("test_upstream.test_template_data",),
        "TestValidateEncryptedDataIgnoresTemplate": (
            "test_upstream.test_judging_and_renewing_ignore_the_template",
        ),
        "TestUnsealWithoutTemplateIgnoresTemplate": (
            "test_upstream.test_judging_and_renewing_ignore_the_template",
        ),
        "TestTemplateDataPlaintextReference": (
            "test_upstream.test_template_data_plaintext_reference",
        ),
        "TestTemplateDataMixedEncryptedAndPlaintext": (
            "test_upstream.test_template_data_plaintext_reference",
        ),
        "TestTemplateDataEncryptedTakesPrecedenceOverPlaintext": (
            "test_upstream.test_template_data_encrypted_takes_precedence",
        ),
        "TestTemplateWithoutEncryptedData": ("test_upstream.test_template_without_encrypted_data",),
        "TestTemplateOmitEncryptedData": ("test_upstream.test_template_omits_encrypted_data",),
        "TestSkipSetOwnerReference": ("test_upstream.test_skip_set_owner_reference",),
        "TestSealMetadataPreservation": ("test_upstream.test_seal_metadata_preservation",),
        "TestUnsealingV1Format": ("test_upstream.test_unsealing_v1_format",),
        "TestRejectBothEncryptedDataAndDeprecatedV1Data": (
            "test_upstream.test_reject_both_encrypted_data_and_deprecated_v1_data",
        ),
        "TestInvalidBase64": ("test_upstream.test_invalid_base64",),
    },
    "pkg/controller/controller_test.go": {
        "TestIsAnnotatedToBePatched": (PRESENT,),
        "TestIsAnnotatedToBeManaged": (PRESENT,),
        "TestConvert2SealedSecretBadType": INNER,
        "TestConvert2SealedSecretFills": INNER,
        "TestConvert2SealedSecretPassThrough": INNER,
        "TestDefaultConfigDoesNotSkipRecreate": (RECREATED,),
        "TestSkipRecreateConfigDoesSkipIt": INNER,
        "TestEmptyStatusSendsUpdate": INNER,
        "TestStatusUpdateSendsUpdate": INNER,
        "TestSameStatusNoUpdate": INNER,
        "TestSyncedSecretWithErrorSendsUpdate": (TYPES,),
        "TestRotate": ("test_upstream_controller.test_rotate",),
        "TestRotateKeepScope": ("test_upstream_controller.test_rotate",),
        "TestAttemptUnsealIgnoresTemplate": (
            "test_upstream_controller.test_verify_and_rotate_ignore_the_template",
        ),
        "TestRotateIgnoresTemplate": (
            "test_upstream_controller.test_verify_and_rotate_ignore_the_template",
        ),
    },
    "pkg/controller/keyregistry_test.go": {
        "TestRegisterNewKey": ("test_upstream.test_key_registry_and_cutoff",),
        "TestLatestPrivateKeyEmpty": INNER,
        "TestPrivateKeys": ("test_upstream.test_key_registry_and_cutoff",),
        "TestKeyLen": INNER,
        "TestMostRecentKeyTimeEmpty": INNER,
        "TestMostRecentKeyTime": INNER,
        "TestConcurrentAccess": INNER,
    },
    "pkg/controller/keys_test.go": {
        "TestReadKey": ("test_upstream.test_read_private_keys",),
        "TestWriteKey": (RENEWED,),
    },
    "pkg/controller/main_test.go": {
        "TestInitKeyRegistry": ("test_upstream_controller.test_legacy_secret",),
        "TestInitKeyRotation": (RENEWED,),
        "TestInitKeyRotationTick": ("test_upstream_controller.test_renew_stale_key",),
        "TestReuseKey": ("test_upstream_controller.test_legacy_secret",),
        "TestRenewStaleKey": ("test_upstream_controller.test_renew_stale_key",),
        "TestKeyCutoff": ("test_upstream_controller.test_key_cutoff",),
        "TestLegacySecret": (
            "test_upstream_controller.test_legacy_secret",
            "test_upstream.test_legacy_secret",
        ),
    },
    "pkg/controller/metrics_test.go": {
        "TestObserveCondition": INNER,
        "TestUnregisterCondition": INNER,
        "TestUnregisterConditionWithNilStatus": INNER,
        "TestObserveConditionWithNilStatus": INNER,
        "TestUnregisterConditionWithMissingLabel": INNER,
        "TestObserveConditionRespectsOmitSecretLabels": INNER,
    },
    "pkg/controller/server_test.go": {
        "TestHttpCert": ("test_upstream_controller.test_http",),
        "TestHttpReadyz": (
            "test_upstream_controller.test_http",
            "test_upstream_controller.test_an_older_controller_is_told",
        ),
    },
    "pkg/crypto/keys_test.go": {"TestSignKey": ("test_upstream.test_sign_key",)},
    "pkg/flagenv/flagenv_test.go": {"TestFlagenv": ("test_upstream.test_flags_by_environment",)},
    "pkg/kubeseal/kubeseal_test.go": {
        "TestParseKey": ("test_upstream.test_parse_key",),
        "TestOpenCertFile": ("test_upstream.test_open_cert_file",),
        "TestSealWithMultiDocSecrets": ("test_upstream.test_seal_with_multi_doc_secrets",),
        "TestSeal": ("test_upstream.test_seal",),
        "TestUnseal": ("test_upstream.test_unseal",),
        "TestUnsealList": ("test_upstream.test_unseal_list",),
        "TestMergeInto": (
            "test_upstream.test_merge_into_added",
            "test_upstream.test_merge_into_updated",
            "test_upstream.test_merge_into_bad_name",
        ),
        "TestRaw": ("test_upstream.test_raw",),
        "TestReadPrivKeySecret": ("test_upstream.test_read_private_keys",),
        "TestReadPrivKeyPEM": ("test_upstream.test_read_private_keys",),
        "TestNamespaceMismatchValidation": ("test_upstream.test_namespace_mismatch_validation",),
    },
    "pkg/multidocyaml/multidocyaml_test.go": {
        "TestIsMultiDocumentYAML": ("test_upstream.test_documents_are_told_apart",),
    },
    "pkg/pflagenv/flagenv_test.go": {"TestPflagenv": ("test_upstream.test_flags_by_environment",)},
}
