"""The published scores through the real lm_eval, against figures computed independently."""

import pandas as pd
import pytest

from rm_value_tasks.data import published_models

# design's table: agency_positive, agency_negative, agency_contrast, standard error.
LEANS = {
    "LxzGordon/URM-LLaMa-3.1-8B": (0.5129, 0.6746, 0.4286, 0.0090),
    "RLHFlow/ArmoRM-Llama3-8B-v0.1": (0.5574, 0.6479, 0.4551, 0.0108),
    "Ray2333/GRM-Llama3-8B-rewardmodel-ft": (0.4900, 0.5526, 0.4624, 0.0094),
    "Ray2333/GRM-Llama3.2-3B-rewardmodel-ft": (0.5235, 0.5903, 0.4759, 0.0078),
    "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2": (0.5319, 0.6619, 0.4504, 0.0083),
    "nicolinho/QRM-Llama3.1-8B": (0.4682, 0.6417, 0.3893, 0.0093),
    "Ray2333/GRM-gemma2-2B-rewardmodel-ft": (0.5019, 0.6852, 0.4059, 0.0096),
    "Skywork/Skywork-Reward-Gemma-2-27B-v0.2": (0.5013, 0.6884, 0.4047, 0.0066),
    "Skywork/Skywork-Reward-Gemma-2-27B": (0.4858, 0.6241, 0.4148, 0.0064),
    "nicolinho/QRM-Gemma-2-27B": (0.4989, 0.6515, 0.4180, 0.0061),
}
# The reference's short names: first letter of the author, base, size.
SHORT = {
    "N-Gem-27B": "nicolinho/QRM-Gemma-2-27B",
    "S-Gem-27B-v0.2": "Skywork/Skywork-Reward-Gemma-2-27B-v0.2",
    "S-Gem-27B": "Skywork/Skywork-Reward-Gemma-2-27B",
    "R-Gem-2B": "Ray2333/GRM-gemma2-2B-rewardmodel-ft",
    "S-Lla-8B-v0.2": "Skywork/Skywork-Reward-Llama-3.1-8B-v0.2",
    "N-Lla-8B": "nicolinho/QRM-Llama3.1-8B",
    "L-Lla-8B": "LxzGordon/URM-LLaMa-3.1-8B",
    "R-Lla-8B": "Ray2333/GRM-Llama3-8B-rewardmodel-ft",
    "R-Lla-3B": "Ray2333/GRM-Llama3.2-3B-rewardmodel-ft",
    "F-Lla-8B-v0.1": "RLHFlow/ArmoRM-Llama3-8B-v0.1",
}


@pytest.fixture(scope="module")
def measured(published):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RM_VALUE_TASKS_DATA", str(published))
        files = sorted((published / "reward_scores_big2_nouns").glob("*.csv"))
        assert len(files) == 10
        return pd.DataFrame([published_models.row(file) for file in files]).set_index("model")


def test_leans_to_four_digits(measured):
    names = ["agency_positive", "agency_negative", "agency_contrast", "agency_contrast_stderr"]
    for model, expected in LEANS.items():
        assert measured.loc[model, names].tolist() == pytest.approx(expected, abs=0.5001e-4)


def test_median_ranks_equal_the_reference(measured, reference):
    means = pd.read_csv(reference / "big2_model_means.csv").set_index("model_id")
    pairs = {
        "pos_Agency": "agency_rank_positive",
        "pos_Communion": "communion_rank_positive",
        "neg_Agency": "agency_rank_negative",
        "neg_Communion": "communion_rank_negative",
    }
    assert set(means.index) == set(SHORT)
    for short, model in SHORT.items():
        for theirs, ours in pairs.items():
            assert measured.loc[model, ours] == pytest.approx(means.loc[short, theirs], abs=1e-6)


def test_the_packaged_table_is_what_the_run_gives(measured):
    packaged = pd.read_csv(published_models.PUBLISHED_MODELS).set_index("model")
    pd.testing.assert_frame_equal(packaged, measured, check_exact=False, atol=1.1e-6)
