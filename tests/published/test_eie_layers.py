"""EIE's layers: what random matrices of the published densities cost, and how a table of times is read."""

import numpy as np
import pytest

from aisys.cost.eie import LAYERS, Layer, printed
from aisys.errors import BadInput
from aisys.kernel import interleaved_csc
from aisys.validate import eie
from aisys.validate.prediction import Options
from aisys.validate.table import read_table

SMALL = Layer(rows=640, columns=512, weight_density=0.1, activation_density=0.5)


def test_a_layer_is_drawn_with_its_densities_and_really_multiplied():
    weights, inputs, places = SMALL.draw()
    assert (len(weights), weights.shape[1], len(inputs)) == (640, 256, 256)
    assert len(set(places.tolist())) == 256
    assert places.max() < 512
    assert inputs.all()
    stored = np.count_nonzero(weights)
    assert abs(stored - 0.1 * weights.size) < 5 * np.sqrt(0.09 * weights.size)
    assert (SMALL.run().outputs == weights.astype(np.int64) @ inputs).all()


def test_the_cycles_lie_between_perfect_balance_and_waiting_for_the_slowest_at_every_column():
    weights, inputs, _ = SMALL.draw()
    encoded = interleaved_csc.encode(weights)
    done = SMALL.run()
    slowest = np.maximum(encoded.entries.max(1), 1).sum()
    assert encoded.entries.sum() / 64 < done.cycles < slowest
    assert interleaved_csc.run(encoded, inputs, 1).cycles == slowest
    assert done.balance == encoded.entries.sum() / 64 / done.cycles


def test_fewer_elements_take_longer_and_are_better_balanced():
    one, four, many = (SMALL.run(num_pes) for num_pes in (1, 4, 64))
    assert one.cycles > four.cycles > many.cycles
    assert one.balance > four.balance > many.balance


def test_the_nine_layers_have_the_densities_that_the_paper_rounds():
    """Percent of the weights and of the dense work, as it prints them; where 10.5 % is both 10 and 11, the border."""
    weights, work = (9, 9, 25, 4, 4, 23, 10, 11, 10), (3, 3, 10, 1, 2, 9, 10, 11, 11)
    for layer, of_weights, of_work in zip(LAYERS.values(), weights, work, strict=True):
        assert abs(100 * layer.weight_density - of_weights) <= 0.5
        assert abs(100 * layer.weight_density * layer.activation_density - of_work) <= 0.5
    with pytest.raises(BadInput, match="no density of the weights rounds to 4 % and 3 % of the work"):
        printed(4096, 4096, 4, 0.375, 3)


def test_a_tall_layer_sends_its_inputs_once_per_batch_of_outputs():
    """8,791 outputs are three batches of 4,096 sums at most, each of which is less even than the whole."""
    layer = LAYERS["nt-wd"]
    weights, inputs, _ = layer.draw()
    whole = interleaved_csc.run(interleaved_csc.encode(weights), inputs)
    parts = [interleaved_csc.run(interleaved_csc.encode(part), inputs) for part in np.split(weights, [4096, 8192])]
    assert layer.run().cycles == sum(part.cycles for part in parts) > whole.cycles


def test_a_table_names_a_layer_or_describes_it(tmp_path):
    path = tmp_path / "eie.csv"
    path.write_text(
        "# table: eie\n# kind: simulated\n# source: made up\n# units: us\n"
        "layer,num_pes,rows,columns,weight_density,activation_density,actual_us\n"
        "NT-LSTM,64,,,,,5\nmine,64,640,512,0.1,0.5,1\nother,64,,,,,1\n"
    )
    found = eie.predict(read_table(path), tier="analytic", options=Options())
    cycles = np.array([LAYERS["nt-lstm"].run().cycles, SMALL.run().cycles])
    assert found.predicted[:2] == pytest.approx(cycles / 800, rel=1e-12)
    assert [row for row, _ in found.skipped] == [2]
    path.write_text(
        "# table: eie\n# kind: simulated\n# source: made up\n# units: cycles\nlayer,actual_cycles\nnt_lstm,5000\n"
    )
    counted = eie.predict(read_table(path), tier="analytic", options=Options())
    assert (counted.predicted[0], counted.measured[0]) == (cycles[0], 5000)
    assert "other" in found.skipped[0][1]


def test_a_density_outside_zero_to_one_is_refused():
    with pytest.raises(BadInput, match=r"density of the weights is 1\.2"):
        Layer(rows=4, columns=4, weight_density=1.2, activation_density=0.5)
    with pytest.raises(BadInput, match="a matrix of 0 x 4"):
        Layer(rows=0, columns=4, weight_density=0.2, activation_density=0.5)
