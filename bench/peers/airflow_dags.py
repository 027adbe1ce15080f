"""The DAGs of the benchmark, as Airflow reads them."""

from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG


def nothing():
    return None


for width in (100,):
    with DAG(f"parallel_{width}", schedule=None, max_active_tasks=1000):
        for n in range(width):
            PythonOperator(task_id=f"t{n}", python_callable=nothing)

with DAG("chain_20", schedule=None):
    before = None
    for n in range(20):
        task = PythonOperator(task_id=f"t{n}", python_callable=nothing)
        if before is not None:
            before >> task
        before = task
