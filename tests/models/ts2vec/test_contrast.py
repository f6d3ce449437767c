import pytest
import torch

from forecast.models.ts2vec.contrast import Crops, cropped, hierarchical_contrast


@pytest.mark.parametrize(
    ("steps", "of_three", "of_one"),
    [(1, 1.121754, 0.0), (2, 1.9459, 0.519533), (7, 2.42857, 1.041759), (8, 2.079236, 1.064978)],
)
def test_the_loss_is_that_of_the_authors(steps, of_three, of_one):
    """Their `hierarchical_contrastive_loss`, zhihanyue/ts2vec at b0088e14, on the same numbers."""
    numbers = torch.arange(3 * steps * 4)
    one = torch.sin(numbers * 0.37).reshape(3, steps, 4)
    other = torch.cos(numbers * 0.41).reshape(3, steps, 4)
    assert hierarchical_contrast(one, other).item() == pytest.approx(of_three, abs=2e-6)
    assert hierarchical_contrast(one[:1], other[:1]).item() == pytest.approx(of_one, abs=2e-6)


@pytest.mark.parametrize("steps", [2, 3, 24])
def test_two_crops_of_a_window_share_their_overlap(steps):
    torch.manual_seed(0)
    values = torch.arange(5 * 2 * steps).reshape(5, 2, steps)
    for _ in range(50):
        crops = Crops.draw(5, steps)
        first, second = (
            cropped(values, starts, length)
            for starts, length in zip(crops.starts, crops.lengths, strict=True)
        )
        assert crops.overlap >= 2
        assert torch.equal(first[..., -crops.overlap :], second[..., : crops.overlap])


def test_crops_lie_anywhere_in_a_window():
    torch.manual_seed(0)
    drawn = [Crops.draw(4, 10) for _ in range(300)]
    starts = {int(start) for crops in drawn for of_crop in crops.starts for start in of_crop}
    lengths = {length for crops in drawn for length in crops.lengths}
    assert starts == set(range(9))
    assert lengths == set(range(2, 11))
