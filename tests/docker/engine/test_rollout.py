"""docker/rollout.sh under a load: no answer but 200 and 429."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.engine.support.engine import Engine
from tests.docker.engine.support.load import bare, load
from tests.docker.engine.support.project import Project, project, rollout
from tests.docker.engine.support.proxy import taking_requests, wait_for_replicas


@pytest.fixture
def other_image(engine: Engine, image: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Another image with these lines after those of the service's."""
    name = f"{image.split(':')[0]}:{tmp_path.name.replace('_', '-')}"
    (tmp_path / "Dockerfile").write_text("\n".join((f"FROM {image}", *request.param)))
    engine.docker("build", "--tag", name, str(tmp_path), DOCKER_BUILDKIT="0")
    yield name
    engine.attempt("image", "rm", "--force", name)


def images(project: Project) -> set[str]:
    return {project.engine.inspect(each)["Config"]["Image"] for each in project.containers("replica")}


@pytest.mark.parametrize("other_image", [["LABEL version=2"]], indirect=True, ids=["new"])
def test_a_new_image_under_a_load(fleet: Project, other_image: str) -> None:
    before = fleet.containers("replica")
    with load(bare, fleet.url, 4) as clients:
        clients.wait_for_answers(8)
        done = rollout(fleet, other_image, READY_SECONDS="600")
        assert done.returncode == 0, done.stdout + done.stderr
        clients.wait_for_answers(8)
    assert clients.lost == {}
    after = fleet.containers("replica")
    assert len(after) == len(before) and not set(after) & set(before)
    assert images(fleet) == {other_image}
    wait_for_replicas(fleet, len(before))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("other_image", "reason"),
    [
        (['CMD ["serve", "--bundle", "/missing"]'], "/missing"),
        (['ENTRYPOINT ["sleep"]', 'CMD ["900"]'], "not ready after 5 s"),
    ],
    indirect=["other_image"],
    ids=["ends", "hangs"],
)
def test_an_image_that_does_not_get_ready(fleet: Project, other_image: str, reason: str) -> None:
    before, images_before = fleet.containers("replica"), images(fleet)
    known = taking_requests(fleet)
    with load(bare, fleet.url, 4) as clients:
        clients.wait_for_answers(8)
        done = rollout(fleet, other_image, READY_SECONDS="5" if "5 s" in reason else "600")
        clients.wait_for_answers(8)
    assert done.returncode == 1
    (line,) = (each for each in done.stderr.splitlines() if "error" in each)
    assert reason in line and "the 2 old ones serve on" in line
    assert clients.lost == {}
    assert (fleet.containers("replica"), images(fleet)) == (before, images_before)
    assert taking_requests(fleet) == known


def test_an_image_that_is_not_there(fleet: Project) -> None:
    done = rollout(fleet, "pointrend-test-no-such-image:1")
    assert done.returncode == 1
    assert "there is no image pointrend-test-no-such-image:1" in done.stderr.splitlines()[-1]


def test_without_replicas_it_says_what_to_start(engine: Engine, image: str) -> None:
    with project(engine, image, "scale") as not_started:
        done = rollout(not_started)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "error: no replicas run behind a proxy: docker compose --profile scale up --wait"
    )
