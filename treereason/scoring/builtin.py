"""The scorers that serve every task, by the name that `scorer=NAME` takes."""

from treereason.core import judges
from treereason.scoring import label_free, reward_model

SCORERS = {
    "likelihood": label_free.likelihood,
    "entropy": label_free.entropy,
    "self_certainty": label_free.self_certainty,
    "confidence": label_free.confidence,
    "lowest_group_confidence": label_free.LowestGroupConfidence,
    "tail_confidence": label_free.TailConfidence,
    "judge_yes_no": judges.YesNo,
    "judge_value": judges.Value,
    "judge_vote": judges.Vote,
    "reward_model": reward_model.RewardModel,
}
