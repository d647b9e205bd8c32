"""The budget: AWS's own count of the account's costs, with mails before and after it's spent.

It is the only limit on a bill that counts everything. It covers the whole account, because the costs of one
deployment can be separated only by tags that the operator has to activate. The first two budgets of an
account are free. https://docs.aws.amazon.com/cost-management/latest/userguide/budgets-managing-costs.html
"""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_budgets as budgets

from infra_cdk.names import global_name
from infra_cdk.settings import Settings


def make_budget(stack: Stack, settings: Settings) -> None:
    """Make the budget, if the settings have a mail address for its warnings."""
    if not settings.alarm_email or not settings.monthly_budget:
        return
    kind = budgets.CfnBudget
    budgets.CfnBudget(
        stack,
        "Budget",
        budget=kind.BudgetDataProperty(
            budget_name=global_name(settings, "monthly"),
            budget_type="COST",
            time_unit="MONTHLY",
            budget_limit=kind.SpendProperty(amount=settings.monthly_budget, unit="USD"),
        ),
        notifications_with_subscribers=[
            kind.NotificationWithSubscribersProperty(
                notification=kind.NotificationProperty(
                    notification_type=counted,
                    comparison_operator="GREATER_THAN",
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                ),
                subscribers=[
                    kind.SubscriberProperty(address=settings.alarm_email, subscription_type="EMAIL")
                ],
            )
            for counted, percent in (("ACTUAL", 50), ("ACTUAL", 100), ("FORECASTED", 100))
        ],
    )
