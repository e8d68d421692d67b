import numpy as np

from takeback.arenas.endgames import Endgames
from takeback.arenas.endgames.imitation import imitation_batch
from takeback.arenas.endgames.moves import moves
from takeback.arenas.endgames.players import population
from takeback.arenas.endgames.situations import held_out
from takeback.arenas.endgames.text import VOCABULARY, completion_tokens

ENDGAMES = Endgames()
MADE = imitation_batch(3000, seed=(1,))
TOKENIZER = ENDGAMES.tokenizer()
EOS = TOKENIZER.eos_token_id


def situations():
    return [ENDGAMES.parse(prompt) for prompt in TOKENIZER.batch_decode(MADE.tokens[:, :4])]


def answer(row):
    """The sampled answer: what the tokens after the prompt say, up to the end that the last target has."""
    length = int(MADE.targets[row].any(axis=1).sum())
    return MADE.tokens[row, 4:][: length - 1].tolist()


def test_a_lesson_is_of_its_split_by_piece_and_legal():
    drawn = situations()
    assert not held_out(np.array([ENDGAMES.cluster(situation) for situation in drawn])).any()
    assert [sum(situation.piece == piece for situation in drawn) for piece in "QRP"] == [1000, 1000, 1000]
    for row, situation in enumerate(drawn[::20]):
        assert ENDGAMES.classify(situation, TOKENIZER.decode(answer(20 * row))) == "legal"


def test_targets_are_the_population_s_conditional_distributions():
    for row, situation in list(enumerate(situations()))[::100]:
        batch = moves([situation.number])
        options, _ = completion_tokens(batch.actions[0])
        weights = population(batch)[0]
        path = [*answer(row), EOS]
        for place in range(len(path)):
            fits = (options[:, :place] == path[:place]).all(axis=1) * weights
            expected = np.bincount(options[:, place], fits, len(VOCABULARY)) / fits.sum()
            np.testing.assert_allclose(MADE.targets[row, place], expected, atol=1e-6)
        assert not MADE.targets[row, len(path) :].any()


def test_the_same_seed_gives_the_same_lesson():
    again, other = imitation_batch(3000, seed=(1,)), imitation_batch(3000, seed=(2,))
    assert MADE.tokens.tobytes() == again.tokens.tobytes()
    assert MADE.targets.tobytes() == again.targets.tobytes()
    assert MADE.tokens.tobytes() != other.tokens.tobytes()
